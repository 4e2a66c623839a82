"""Latent action models out of their files: ``lamflow.load_lam``.

Shapes: T frames of an episode, n of a piece of it, D latent width, K codes of a latent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.held_windows import HeldWindows, inference_batches
from lamflow.data.row_memory import HeldRows
from lamflow.data.windows import FRAMES, EpisodeBounds
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.model import LatentActionModel
from lamflow.lam.validation import label_rows
from lamflow.loaded.headers import header_of
from lamflow.training.precision import autocast, default_device, precision_of

MODEL = "model.safetensors"


class Labels(NamedTuple):
    """Latent actions of transitions that follow each other: ``latents`` float32 [n, D] before quantisation, ``codes`` int64 [n, K] (K is 0
    where the model has no codes)."""

    latents: NDArray[np.float32]
    codes: NDArray[np.int64]


def load_lam(file: str | Path) -> LoadedLam:
    """The model of a file ``results/<experiment>/lam/<env>/<lam>/seed<k>/model.safetensors``, or of the folder in which it lies. Nothing
    else is read. ValueError where it is missing, damaged, or no latent action model."""
    path = Path(file)
    path = path / MODEL if path.is_dir() else path
    wanted = f"a latent action model's, such as lam/<env>/<lam>/seed0/{MODEL}"
    header = header_of(path, kind="lam", wanted=wanted, says="environment", said="environment")
    spec = EnvironmentSpec.from_facts(header["environment"])
    return LoadedLam(load_latent_action_model(path, spec=spec), name=header["lam"], seed=header["seed"], path=path)


class LoadedLam:
    """A trained latent action model. Frames are those of its environment's main part, ``spec.main_part``."""

    def __init__(self, model: LatentActionModel, *, name: str, seed: int, path: Path) -> None:
        self.model, self.name, self.seed, self.path = model, name, seed, path
        self.spec = model.spec
        self.precision = precision_of(model.settings.training.precision, model.parameters())

    def __repr__(self) -> str:
        return f"LoadedLam({self.name} of {self.spec.name}, seed {self.seed})"

    def encode(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        """The latents float32 [T - 1, D], before quantisation, of the transitions between the frames [T, ...] of an episode."""
        return self.label(frames).latents

    def label(self, frames: NDArray[Any]) -> Labels:
        """The latents and codes of the T - 1 transitions between the frames [T, ...] of a whole episode. ValueError for frames of another
        shape than the model's, or fewer than two."""
        return joined(list(self.label_pieces([frames])))

    def label_pieces(self, pieces: Iterable[NDArray[Any]]) -> Iterator[Labels]:
        """The same of an episode whose frames come in pieces [n, ...], which need not fit into memory together. The answers follow each
        other, too, and are cut elsewhere."""
        before, after = self.model.window.reach
        kept, start, labelled = (
            None,
            0,
            0,
        )  # the frames in memory, and the rows of the first of them and of the next to be labelled
        for piece in pieces:
            part = self._frames(piece)
            kept = part if kept is None else torch.cat([kept, part])
            stop = start + len(kept) - after
            if stop > labelled:
                yield self._label(kept, range(labelled - start, stop - start))
                labelled = stop
                kept, start = kept[max(0, labelled - before - start) :], max(start, labelled - before)
        rows = 0 if kept is None else start + len(kept)
        if rows - 1 > labelled:
            assert kept is not None
            yield self._label(kept, range(labelled - start, rows - 1 - start))

    def predict(
        self, frames: NDArray[Any], latents: NDArray[Any] | None = None, *, codes: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """The most likely next frame after each of the frames [T, ...] of an episode, by its latent action: [T, ...], of ``latents`` [T, D]
        as ``encode`` answers them, or of ``codes`` int64 [T, K]. Of fewer latents or codes than frames, after the first ones.

        One frame and one latent [D], or its codes [K], give one frame. ValueError where the shapes do not fit.
        """
        single = np.ndim(frames) == len(self.spec.frame_shape)
        given = self._frames(np.asarray(frames)[None] if single else frames)
        quantized = self._quantized(latents, codes, single=single)
        if len(quantized) > len(given):
            raise ValueError(f"found {len(quantized)} latents for {len(given)} frames, expected at most one per frame")
        held = self._held(given, torch.arange(len(quantized), device=given.device))
        with torch.no_grad(), autocast(self.precision.name, given.device):
            parts = zip(held.windows(), inference_batches(quantized), strict=True)
            predicted = torch.cat([self.model.predict(window, part) for window, part in parts]).cpu().numpy()
        return predicted[0] if single else predicted

    def _quantized(self, latents: NDArray[Any] | None, codes: NDArray[Any] | None, *, single: bool) -> Tensor:
        """float32 [n, D]: what the forward dynamics model sees."""
        if (latents is None) == (codes is None):
            raise ValueError("found both or none of latents and codes, expected one of them")
        quantizer, settings = self.model.quantizer, self.model.settings.quantizer
        width = settings.latent_dim if codes is None else settings.num_tokens
        values = torch.as_tensor(np.asarray(latents if codes is None else codes))[None if single else ...]
        if values.ndim != 2 or values.shape[1] != width or not width:
            what = "latents" if codes is None else "codes"
            raise ValueError(
                f"found {what} of shape {list(values.shape[1:])}, expected {[width] if width else 'none: the model has no codes'}"
            )
        if codes is not None and bool(((values < 0) | (values >= settings.num_codes)).any()):
            raise ValueError(
                f"found codes from {values.min()} to {values.max()}, expected whole numbers from 0 to {settings.num_codes - 1}"
            )
        values = values.to(default_device())
        with torch.no_grad():
            return quantizer(values.float()).latents if codes is None else quantizer.decode(values.long())

    def _frames(self, frames: NDArray[Any]) -> Tensor:
        """On the model's device; ValueError for others than its own."""
        part, values = self.spec.main_part, np.asarray(frames)
        if values.shape[1:] != part.shape or values.dtype != part.dtype:
            raise ValueError(
                f"found frames {values.dtype} {['T', *values.shape[1:]]}, expected {part.dtype} {['T', *part.shape]}, as {self.spec.name} "
                "has them: lamflow.episodes.fit.FrameFit makes pictures of any size fit"
            )
        return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(default_device())

    def _label(self, frames: Tensor, rows: range) -> Labels:
        """Of some rows of the frames of an episode that are in memory."""
        held = self._held(frames, torch.arange(rows.start, rows.stop, device=frames.device))
        with autocast(self.precision.name, frames.device):
            found = label_rows(self.model, held)
        return Labels(found.continuous.cpu().numpy(), found.codes.cpu().numpy())

    def _held(self, frames: Tensor, rows: Tensor) -> HeldWindows:
        first = torch.zeros(len(frames), dtype=torch.int64, device=frames.device)
        bounds = EpisodeBounds(first, first + len(frames) - 1)
        return HeldWindows(self.model.window, bounds, {}, HeldRows({FRAMES: frames}), rows)


def joined(parts: list[Labels]) -> Labels:
    """Labels one after the other; ValueError where there are none."""
    if not parts:
        raise ValueError(
            "found fewer than two frames, expected those of an episode: a latent action leads from one to the next"
        )
    return Labels(*(np.concatenate(values) for values in zip(*parts, strict=True)))
