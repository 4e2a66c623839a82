"""The table that labelled recordings are written to: one row per frame.

Shapes: n frames of a piece of an episode, D latent width, K codes of a latent, A entries of an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamflow.loaded.decoders import Decoded, LoadedDecoder
from lamflow.loaded.lams import Labels, LoadedLam
from lamflow.spaces import Discrete


@dataclass(frozen=True)
class LabelTable:
    """Its columns: ``episode``, ``frame``, ``latent_0`` .., ``code_0`` .., and with a decoder ``action`` (or ``action_0`` .. of continuous
    ones) and ``confidence``. All but the first two are null in the last frame of an episode, from which no action leads on."""

    lam: LoadedLam
    decoder: LoadedDecoder | None

    @property
    def schema(self) -> Any:
        """Of Arrow."""
        quantizer = self.lam.model.settings.quantizer
        fields = [("episode", pa.string()), ("frame", pa.int64())]
        fields += [(f"latent_{entry}", pa.float32()) for entry in range(quantizer.latent_dim)]
        fields += [(f"code_{entry}", pa.int64()) for entry in range(quantizer.num_tokens)]
        if self.decoder is not None:
            fields += [(name, kind) for name, kind in self._actions()]
        return pa.schema(fields)

    def _actions(self) -> list[tuple[str, Any]]:
        assert self.decoder is not None
        action = self.decoder.spec.action
        if isinstance(action, Discrete):
            return [("action", pa.int64()), ("confidence", pa.float32())]
        return [(f"action_{entry}", pa.float32()) for entry in range(*action.shape)]

    def rows(self, episode: str, first: int, labels: Labels) -> Any:
        """Those of the transitions that begin with the frame ``first``."""
        count = len(labels.latents)
        decoded = None if self.decoder is None else self.decoder.decode(labels)
        columns = [*labels.latents.T, *labels.codes.T, *_columns_of(decoded)]
        return self._table(episode, first, count, [pa.array(np.ascontiguousarray(column)) for column in columns])

    def last_row(self, episode: str, frame: int) -> Any:
        """That of the last frame of an episode."""
        return self._table(episode, frame, 1, [pa.nulls(1, field.type) for field in list(self.schema)[2:]])

    def _table(self, episode: str, first: int, count: int, columns: list[Any]) -> Any:
        named = [pa.array([episode] * count, pa.string()), pa.array(np.arange(first, first + count))]
        return pa.Table.from_arrays([*named, *columns], schema=self.schema)


def _columns_of(decoded: Decoded | None) -> list[NDArray[Any]]:
    if decoded is None:
        return []
    if decoded.confidence is None:
        return list(decoded.actions.T)
    return [decoded.actions, decoded.confidence]
