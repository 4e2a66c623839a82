"""What observations and actions are made of: facts that JSON can hold, in the words of Gymnasium's spaces.

Gymnasium takes .3 s to import, which each of some hundred processes would pay, and its spaces cannot be hashed: facts travel, and
``lamflow.envs.gymnasium_spaces`` makes spaces of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, ClassVar

MOST_CATEGORIES = 256
"""Categories are stored as bytes."""


@dataclass(frozen=True)
class Pixels:
    """A picture, uint8 [height, width, channels] from 0 to 255."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "pixels"
    dtype: ClassVar[str] = "uint8"


@dataclass(frozen=True)
class Categories:
    """Categories, uint8 [..., entries]: entry i has one of ``sizes[i]`` values. A grid of cells, or a vector."""

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    kind: ClassVar[str] = "categories"
    dtype: ClassVar[str] = "uint8"

    def __post_init__(self) -> None:
        assert self.shape[-1] == len(self.sizes), f"found {len(self.sizes)} sizes for entries of shape {self.shape}"


@dataclass(frozen=True)
class Vector:
    """Numbers without bounds that count, float32 [entries]."""

    shape: tuple[int, ...]
    kind: ClassVar[str] = "vector"
    dtype: ClassVar[str] = "float32"


@dataclass(frozen=True)
class Discrete:
    """One of ``count`` actions, int64 from 0."""

    count: int
    kind: ClassVar[str] = "discrete"
    dtype: ClassVar[str] = "int64"
    shape: ClassVar[tuple[int, ...]] = ()


@dataclass(frozen=True)
class Box:
    """Actions within bounds, float32 [entries]."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    kind: ClassVar[str] = "box"
    dtype: ClassVar[str] = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """[entries]."""
        return (len(self.low),)


@dataclass(frozen=True)
class Unknown:
    """Actions that nobody recorded: episodes of such an environment have none. In stores they are int64 in the place of actions."""

    kind: ClassVar[str] = "unknown"
    dtype: ClassVar[str] = "int64"
    shape: ClassVar[tuple[int, ...]] = ()


Part = Pixels | Categories | Vector
"""What a part of an observation may be."""
KnownActions = Discrete | Box
ActionSpace = KnownActions | Unknown
_KINDS: Mapping[str, type[Part | ActionSpace]] = {
    group.kind: group for group in (Pixels, Categories, Vector, Discrete, Box, Unknown)
}
PART_KINDS = (Pixels.kind, Categories.kind, Vector.kind)
ACTION_KINDS = (Discrete.kind, Box.kind, Unknown.kind)


def known_actions(action: ActionSpace, whose: str) -> KnownActions:
    """The space of actions; ValueError, which names ``whose`` they are, where nobody recorded any."""
    if isinstance(action, Unknown):
        raise ValueError(
            f"{whose}: its episodes have no actions, expected discrete or continuous ones, as policies and decoders learn these: record "
            "the actions of some rows at least, or learn nothing but latent actions of it"
        )
    return action


def to_facts(space: Part | ActionSpace) -> dict[str, Any]:
    """As JSON can hold it."""
    return {"kind": space.kind, **{name: _listed(value) for name, value in asdict(space).items()}}


def from_facts(facts: Any, key: str, kinds: tuple[str, ...]) -> Any:
    """What ``to_facts`` answered, of one of ``kinds``; ValueError names ``key`` where it is not."""
    kind = facts.get("kind") if isinstance(facts, Mapping) else None
    if kind not in kinds:
        raise ValueError(f"{key}: found {facts!r}, expected a mapping whose kind is one of {', '.join(kinds)}")
    try:
        return _KINDS[kind](**{name: _tupled(value) for name, value in facts.items() if name != "kind"})
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{key}: found {dict(facts)!r}, which is no space of kind {kind}: {error}") from None


def num_entries(part: Part) -> int:
    """Numbers in a part of an observation."""
    return prod(part.shape)


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list | tuple) else value
