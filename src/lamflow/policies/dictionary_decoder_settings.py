"""Settings of decoders that are tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.settings import DecoderSettings
from lamflow.quantizers.settings import QuantizerSettings
from lamflow.spaces import Box


class DictionaryDecoderSettings(DecoderSettings):
    """Smoothed counts of true actions per code (Genie's way)."""

    builds: ClassVar[str] = "lamflow.policies.dictionary_decoder:DictionaryDecoder"
    decodes_codes: ClassVar[bool] = True

    kind: Literal["dictionary"] = "dictionary"
    smoothing: float = Field(
        0.1, gt=0, description="Pseudo-count of each action and code, shared out by the labels' frequencies."
    )

    @model_validator(mode="before")
    @classmethod
    def _sees_codes_alone(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("observation"):
            raise ValueError(
                "decoder.observation: true needs kind: mlp, a network on latent and observation; found kind: dictionary, a table of "
                "codes alone"
            )
        return given

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """Actions that cannot be counted."""
        if isinstance(spec.action, Box):
            yield (
                "kind",
                f"a dictionary counts discrete actions, and those of {spec.name} are continuous: take kind: mlp",
            )

    def refusal(self, target: str, quantizer: QuantizerSettings, lam: str) -> str:
        """It needs codes of one codebook of one token."""
        if target != "codes":
            return "a dictionary decodes codes; set target: codes"
        if quantizer.num_tokens > 1:
            tokens = quantizer.num_tokens // quantizer.num_codebooks
            return f"a dictionary needs a LAM with one codebook of one token; {lam!r} has {quantizer.num_codebooks} x {tokens}"
        return ""
