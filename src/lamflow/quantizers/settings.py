"""What every quantiser's settings say. A quantiser is two files of this room: ``<name>.py`` and ``<name>_settings.py``."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from lamflow.components import Component, Registry
from lamflow.settings import WIDEST


class QuantizerSettings(Component):
    """What lies between the inverse and the forward dynamics model.

    It builds a module that maps latents float [B, latent_dim] to ``lamflow.quantizers.interface.Quantized``.
    """

    width: ClassVar[str] = "latent"
    """Of which keys the latent's width is made, for messages."""
    needs_normalised: ClassVar[str] = ""
    """Why this quantiser is of no use without ``normalise: true``, where that is so."""

    @property
    def latent_dim(self) -> int:
        """Width of the latent."""
        raise NotImplementedError

    @property
    def num_tokens(self) -> int:
        """Codes of a latent; 0 where it is continuous."""
        return 0

    @property
    def num_codes(self) -> int:
        """Codes that a token may take, the same for all tokens; 0 without tokens."""
        return 0

    @property
    def num_codebooks(self) -> int:
        """Into how many equal parts the tokens fall whose codes mean the same within a part; 0 without tokens."""
        return min(1, self.num_tokens)

    @property
    def loss_weight(self) -> float:
        """Weight of the quantiser's own loss in that of the model."""
        return 0.0

    @model_validator(mode="after")
    def _latents_fit_a_layer(self) -> Self:
        if self.latent_dim > WIDEST:
            raise ValueError(f"{self.width}: found a latent of {self.latent_dim}, expected at most {WIDEST}")
        return self


QUANTIZERS: Registry[QuantizerSettings] = Registry("lamflow.quantizers", QuantizerSettings)
