"""The latent store: what a latent action model says about every transition of one episode store, row by row.

``latents`` float32 [N, D], before quantisation; ``codes`` int64 [N, K] where there is a codebook (K = codebooks x
tokens); ``valid`` bool [N]: the row has an action and a next frame. What stands on other rows has no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lamflow.data.chunk_reader import RowReader
from lamflow.data.group_reader import GroupReader, check_digest, check_format, load_metadata
from lamflow.data.group_writer import ArraySpec, GroupWriter
from lamflow.data.store import EpisodeStore, check_env

FORMAT: Final = "lamflow-latents"
FORMAT_VERSION: Final = 1
MOMENT_ROWS: Final = 65_536
"""Rows that are in memory at once when moments are computed: 34 MB of LAPO's latents."""


@dataclass(frozen=True)
class LatentArrays:
    """A whole latent store in memory: ``latents`` float32 [N, D]; ``codes`` int64 [N, K], or None without a codebook;
    ``valid`` bool [N]."""

    latents: NDArray[np.float32]
    codes: NDArray[np.int64] | None
    valid: NDArray[np.bool_]


def array_specs(latent_dim: int, num_tokens: int) -> tuple[ArraySpec, ...]:
    """The arrays of a latent store."""
    codes = (ArraySpec("codes", "int64", (num_tokens,)),) if num_tokens else ()
    return (ArraySpec("latents", "float32", (latent_dim,)), *codes, ArraySpec("valid", "bool"))


def expected_arrays(attributes: Mapping[str, Any]) -> list[tuple[ArraySpec, int]]:
    """Every array of the latent store with these attributes, and its number of rows."""
    specs = array_specs(int(attributes["latent_dim"]), int(attributes["num_tokens"]))
    return [(spec, int(attributes["num_rows"])) for spec in specs]


def has_next_frame(episode_starts: NDArray[np.int64], num_rows: int) -> NDArray[np.bool_]:
    """bool [N]: all rows but the last of each episode."""
    valid = np.ones(num_rows, np.bool_)
    valid[np.append(episode_starts[1:], num_rows) - 1] = False
    return valid


class LatentWriter:
    """Writes the latent store of ``episodes``; a context manager. It appears at ``path`` when the block ends well.

    ``lam``: name of the latent action model; ``seed``: its seed; ``latent_dim``: D; ``num_tokens``: K, 0 without a
    codebook; ``codebook_size``: codes a codebook, None without one. ``valid`` is filled in from the episodes.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        episodes: EpisodeStore,
        lam: str,
        seed: int,
        latent_dim: int,
        num_tokens: int = 0,
        codebook_size: int | None = None,
    ) -> None:
        if (num_tokens > 0) != (codebook_size is not None):
            raise ValueError(
                f"{path}: found num_tokens {num_tokens} and codebook_size {codebook_size}: give both or none"
            )
        self.path = Path(path)
        self._episodes = episodes
        self._specs = array_specs(latent_dim, num_tokens)
        self._group = GroupWriter(self.path, self._specs)
        self._group.attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "env": episodes.env,
            "split": episodes.split,
            "lam": lam,
            "seed": int(seed),
            "num_rows": episodes.num_rows,
            "latent_dim": latent_dim,
            "num_tokens": num_tokens,
            "codebook_size": codebook_size,
            "episodes_digest": episodes.digest,
        }

    def __enter__(self) -> LatentWriter:
        self._group.__enter__()
        return self

    def append(self, latents: NDArray[np.float32], codes: NDArray[np.int64] | None = None) -> None:
        """Append the next B rows: ``latents`` float32 [B, D] and ``codes`` int64 [B, K] where there is a codebook."""
        given = {"latents": latents} | ({} if codes is None else {"codes": codes})
        wanted = {spec.name: spec for spec in self._specs if spec.name != "valid"}
        if set(given) != set(wanted):
            raise ValueError(f"{self.path}: found {sorted(given)} to append, expected {sorted(wanted)}")
        for name, array in given.items():
            spec, expected = wanted[name], (len(latents), *wanted[name].row_shape)
            if array.shape != expected or array.dtype != np.dtype(spec.dtype):
                raise ValueError(
                    f"{self.path}: {name} is {array.dtype} {list(array.shape)}, expected {spec.dtype} {list(expected)}"
                )
        for name, array in given.items():
            self._group.append(name, array)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._seal()
        except BaseException as problem:
            self._group.__exit__(type(problem), problem, problem.__traceback__)
            raise
        self._group.__exit__(kind, error, trace)

    def _seal(self) -> None:
        found, expected = self._group.num_rows("latents"), self._episodes.num_rows
        if found != expected:
            raise ValueError(
                f"{self.path}: found latents of {found} rows, expected {expected}, the rows of {self._episodes.path}"
            )
        self._group.append("valid", has_next_frame(self._episodes.array("episode_starts")[...], expected))


class LatentStore:
    """A finished latent store, opened lazily: attributes and files are checked, rows are read on demand."""

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        self.path = path
        self.attributes = attributes
        self._group = GroupReader(path, attributes, expected_arrays)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        env: str | None = None,
        lam: str | None = None,
        seed: int | None = None,
        episodes: EpisodeStore | None = None,
    ) -> LatentStore:
        """Open the store at ``path``; ValueError when it is missing, damaged, of another version, environment, LAM or
        seed, or not of ``episodes``."""
        path = Path(path)
        attributes = load_metadata(path)
        check_format(path, attributes, format_name=FORMAT, format_version=FORMAT_VERSION)
        check_env(path, attributes, env)
        for name, expected in (("lam", lam), ("seed", seed)):
            found = attributes.get(name)
            if expected is not None and found != expected:
                raise ValueError(
                    f"{path}: found {name} {found!r}, expected {expected!r}: give the store of that {name}"
                )
        if episodes is not None:
            check_episodes(path, attributes, episodes)
        check_digest(path, attributes)
        return cls(path, attributes)

    @property
    def num_rows(self) -> int:
        return int(self.attributes["num_rows"])

    @property
    def latent_dim(self) -> int:
        return int(self.attributes["latent_dim"])

    @property
    def num_tokens(self) -> int:
        """Codes a row: codebooks x tokens, 0 without a codebook."""
        return int(self.attributes["num_tokens"])

    @property
    def codebook_size(self) -> int | None:
        """Codes per codebook, None without one."""
        size = self.attributes["codebook_size"]
        return None if size is None else int(size)

    def array(self, name: str) -> Any:
        """The zarr array ``name``: slices of it are read from disk and returned as numpy arrays. ValueError names a damaged
        file."""
        return self._group[name]

    def rows(self, name: str) -> RowReader:
        """A reader of parts of the array ``name``, much quicker for those of a large store: it verifies what it reads, no more."""
        return self._group.rows(name)

    def moments(self, rows: NDArray[np.int64] | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of the latents of transitions, float32 [D] each; ``rows`` int64 [M]: of those among them."""
        reader, valid = self.rows("latents"), self.array("valid")[...]
        if rows is not None:
            valid = valid & np.isin(np.arange(self.num_rows), rows)
        total, squares = np.zeros(self.latent_dim), np.zeros(self.latent_dim)
        for start in range(0, self.num_rows, MOMENT_ROWS):
            stop = min(start + MOMENT_ROWS, self.num_rows)
            latents = reader.read(start, stop)[valid[start:stop]].astype(np.float64)
            total += latents.sum(0)
            squares += np.square(latents).sum(0)
        count = max(1, int(valid.sum()))
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return mean.astype(np.float32), deviation.astype(np.float32)

    def load(self) -> LatentArrays:
        """Read everything into memory; ValueError names a damaged file."""
        values = self._group.load()
        return LatentArrays(latents=values["latents"], codes=values.get("codes"), valid=values["valid"])


def check_episodes(path: Path, attributes: Mapping[str, Any], episodes: EpisodeStore) -> None:
    """ValueError when the latent store was made from other episodes."""
    if attributes.get("episodes_digest") != episodes.digest:
        raise ValueError(
            f"{path}: found latents of other episodes (episodes_digest {attributes.get('episodes_digest')}), expected "
            f"those of {episodes.path} (digest {episodes.digest}): relabel these episodes again"
        )
