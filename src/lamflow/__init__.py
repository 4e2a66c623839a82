"""lamflow: learning to act from video without actions."""

__version__ = "0.1.0"
