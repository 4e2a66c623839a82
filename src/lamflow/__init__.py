"""lamflow: learning to act from video without actions.

``lamflow.load_agent`` and ``lamflow.load_lam`` take what a run has learnt out of its files; they are imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamflow.loaded.agents import load_agent as load_agent
    from lamflow.loaded.lams import load_lam as load_lam

__version__ = "0.1.0"

_LOADED = {"load_agent": "lamflow.loaded.agents", "load_lam": "lamflow.loaded.lams"}


def __getattr__(name: str) -> Any:
    if name not in _LOADED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LOADED[name]), name)
