"""Says what is wrong with an episode or latent store: ``python -m lamflow.data.validate STORE``.

Opening a store stops at the first problem; this reads every byte, in bounded memory, and lists all problems.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.data import latents, store
from lamflow.data.actions import is_no_action, no_action, outside_bounds, recorded_in, said_bounds
from lamflow.data.group_reader import (
    check_digest,
    check_format,
    file_problems,
    load_metadata,
    open_array,
    row_reader,
    unlisted_shards,
)
from lamflow.data.group_writer import ArraySpec
from lamflow.spaces import Categories, Pixels


def store_problems(path: Path, episodes: store.EpisodeStore | None = None) -> list[str]:
    """Everything that is wrong with the store at ``path``; ``episodes``: what a latent store must belong to. Of a union, everything that is
    wrong with the stores that it joins, too."""
    try:
        attributes = load_metadata(path)
        store.refuse_older(path, attributes)
        if attributes.get("format") == store.UNION_FORMAT:
            return _union_problems(path, attributes)
        kind = latents if attributes.get("format") == latents.FORMAT else store
        check_format(path, attributes, format_name=kind.FORMAT, format_version=kind.FORMAT_VERSION)
    except ValueError as error:
        return [str(error)]
    problems = _refusals(lambda: check_digest(path, attributes))
    try:
        problems += _unlisted_files(path, attributes)
        expected = kind.expected_arrays(attributes)
        problems += _problems_beside(path, attributes, expected)
        arrays = _sound_arrays(path, attributes, expected, problems)
        if kind is store:
            problems += _episode_problems(attributes, arrays)
        else:
            problems += _latent_problems(attributes, arrays)
            if episodes is not None:
                problems += _refusals(lambda: latents.check_episodes(path, attributes, episodes))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problems.append(f"{path / 'zarr.json'}: its attributes cannot be used ({type(error).__name__}: {error})")
    return problems


def _union_problems(path: Path, attributes: Mapping[str, Any]) -> list[str]:
    problems = _refusals(lambda: store.EpisodeStore.open(path))
    for member in attributes.get("members", ()):
        found = path.parent / member["store"]
        problems += [f"{found}: {problem}" for problem in store_problems(found)]
    return problems


def _refusals(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except ValueError as error:
        return [str(error)]
    return []


SNAKEMAKE_TIMESTAMP = ".snakemake_timestamp"
"""Snakemake puts this empty file into each directory that a rule makes."""


def _unlisted_files(path: Path, attributes: Mapping[str, Any]) -> list[str]:
    listed = {"zarr.json", SNAKEMAKE_TIMESTAMP, *attributes["files"]}
    found = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return [
        f"{name}: found a file that was not written with the store: remove it" for name in found if name not in listed
    ]


def _problems_beside(path: Path, attributes: dict[str, Any], expected: Sequence[tuple[ArraySpec, int]]) -> list[str]:
    """Problems of the files that belong to none of the arrays, such as those of groups of arrays."""
    within = tuple(f"{spec.name}/" for spec, _ in expected)
    beside = {name: entry for name, entry in attributes["files"].items() if not name.startswith(within)}
    return file_problems(path, {**attributes, "files": beside}, contents=True)


def _sound_arrays(
    path: Path, attributes: dict[str, Any], expected: Sequence[tuple[ArraySpec, int]], problems: list[str]
) -> dict[str, Any]:
    """The zarr arrays whose files are all as written and of the expected dtype and shape; adds to ``problems``."""
    arrays = {}
    for spec, num_rows in expected:
        damaged = file_problems(path, attributes, within=f"{spec.name}/", contents=True)
        problems += damaged
        if not damaged:
            try:
                array = open_array(path, spec, num_rows)
                holes = unlisted_shards(attributes, spec, array) or row_reader(path, spec, array).never_written()
            except ValueError as error:
                problems.append(str(error))
                continue
            problems += holes
            if not holes:
                arrays[spec.name] = array
    return arrays


def _blocks(array: Any) -> Iterator[tuple[slice, NDArray[Any]]]:
    """An array's rows, a shard at a time."""
    for start in range(0, array.shape[0], array.shards[0]):
        rows = slice(start, min(start + array.shards[0], array.shape[0]))
        yield rows, array[rows]


def _rows(wrong: NDArray[np.bool_]) -> str:
    """The first of the rows that are marked, and how many there are."""
    rows = np.flatnonzero(wrong)
    return f"row {rows[0]}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")


def _episode_problems(attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[str]:
    store.tolerance_in(attributes)
    yield from _category_problems(attributes, arrays)
    if "episode_starts" not in arrays:
        return
    num_rows, final = int(attributes["num_rows"]), bool(attributes["final_observations"])
    starts = arrays["episode_starts"][...]
    lengths = np.diff(starts, append=num_rows)
    shortest = 1 + final
    if starts[0] != 0 or (lengths < shortest).any():
        episode = 0 if starts[0] != 0 else int(np.flatnonzero(lengths < shortest)[0])
        yield (
            f"episode_starts: episode {episode} starts at row {starts[episode]} and has {lengths[episode]} rows, expected "
            f"starts that increase from 0, and at least {shortest} row(s) an episode"
        )
        return
    is_final = np.zeros(num_rows, np.bool_)
    is_final[starts + lengths - 1] = final
    is_last_action = np.zeros(num_rows, np.bool_)
    is_last_action[starts + lengths - 1 - final] = True
    yield from _row_problems(attributes, arrays, is_final, is_last_action)


def _row_problems(
    attributes: Mapping[str, Any],
    arrays: Mapping[str, Any],
    is_final: NDArray[np.bool_],
    is_last_action: NDArray[np.bool_],
) -> Iterator[str]:
    """Problems of actions, rewards and flags, given which rows are final observations and last actions."""
    if "acted" in arrays and (wrong := arrays["acted"][...] == is_final).any():
        yield f"acted: {_rows(wrong)}: expected False on final observations and nowhere else"
    yield from _action_problems(attributes, arrays, is_final)
    if "rewards" in arrays:
        rewards = arrays["rewards"][...]
        if (wrong := ~np.isfinite(rewards) | (is_final & (rewards != 0))).any():
            yield f"rewards: {_rows(wrong)}: found {rewards[wrong][0]}, expected finite, and 0 on final observations"
    for name in ("terminated", "truncated"):
        if name in arrays and (wrong := arrays[name][...] & ~is_last_action).any():
            yield f"{name}: {_rows(wrong)}: found True, expected it on the last action of an episode only"


def _action_problems(
    attributes: Mapping[str, Any], arrays: Mapping[str, Any], is_final: NDArray[np.bool_]
) -> Iterator[str]:
    """Problems of actions, and of which of them are known."""
    space, recorded = store.spec_of(attributes).action, recorded_in(attributes)
    labelled = ~is_final if recorded == "all" else np.zeros(len(is_final), np.bool_)
    if recorded == "some":
        if store.LABELLED.name not in arrays:
            return
        labelled = arrays[store.LABELLED.name][...]
        if (wrong := labelled & is_final).any():
            yield f"labelled: {_rows(wrong)}: found True, expected no known action on final observations"
            labelled = labelled & ~is_final
    if "actions" not in arrays:
        return
    actions, nothing = arrays["actions"][...], no_action(space)
    named = ~is_no_action(space, actions)
    if (wrong := is_final & named).any():
        yield f"actions: {_rows(wrong)}: found {actions[wrong][0]}, expected {nothing} on final observations"
    if (wrong := ~is_final & ~labelled & named).any():
        yield f"actions: {_rows(wrong)}: found {actions[wrong][0]}, expected {nothing} where no action is known"
    outside = outside_bounds(space, actions).reshape(len(actions), -1).any(axis=1)
    if (wrong := labelled & outside).any():
        yield f"actions: {_rows(wrong)}: found {actions[wrong][0]}, expected {said_bounds(space)}"


def _category_problems(attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[str]:
    """Entries beyond the number of categories that the environment knows, and numbers that are none; of pixels any byte is one."""
    spec = store.spec_of(attributes)
    for part, space in spec.observation.items():
        name = store.array_of(part)
        if name not in arrays or isinstance(space, Pixels):
            continue
        for rows, values in _blocks(arrays[name]):
            if isinstance(space, Categories):
                bad, found = (
                    values >= np.array(space.sizes),
                    f"a category beyond the {list(space.sizes)} that {spec.name} has",
                )
            else:
                bad, found = ~np.isfinite(values), "NaN or infinity, expected finite numbers"
            wrong = bad.reshape(len(values), -1).any(axis=1)
            if wrong.any():
                yield f"{name}: row {rows.start + int(np.flatnonzero(wrong)[0])}: found {found}"
                break


def _latent_problems(attributes: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[str]:
    if "valid" not in arrays:
        return
    valid = arrays["valid"][...]
    if "latents" in arrays:
        finite = np.concatenate([np.isfinite(values).all(axis=1) for _, values in _blocks(arrays["latents"])])
        if (wrong := valid & ~finite).any():
            yield f"latents: {_rows(wrong)}: found NaN or infinity, expected finite latents on valid rows"
    if "codes" in arrays:
        codes, size = arrays["codes"][...], int(attributes["codebook_size"])
        if (wrong := valid & ((codes < 0) | (codes >= size)).any(axis=1)).any():
            yield f"codes: {_rows(wrong)}: found {codes[wrong][0].tolist()}, expected 0 to {size - 1} on valid rows"


def _summary(attributes: Mapping[str, Any]) -> str:
    """What a sound store holds, in a line."""
    if attributes["format"] == latents.FORMAT:
        holds = (
            f"{attributes['num_rows']} rows of {attributes['latent_dim']} latents and {attributes['num_tokens']} codes"
        )
        return f"{holds}, {attributes['env']} {attributes['split']}, LAM {attributes['lam']}, seed {attributes['seed']}"
    holds = f"{attributes['num_episodes']} episodes, {attributes['num_rows']} rows"
    return f"{holds}, {attributes['env']} {attributes['split']}, mean return {attributes['return_behaviour']:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 when the store is sound, 1 when it is not."""
    parser = argparse.ArgumentParser(
        prog="python -m lamflow.data.validate", description="Check an episode or latent store."
    )
    parser.add_argument("store", type=Path, help="the .zarr directory")
    parser.add_argument("--episodes", type=Path, help="the episode store that a latent store must belong to")
    options = parser.parse_args(arguments)
    try:
        episodes = None if options.episodes is None else store.EpisodeStore.open(options.episodes)
    except ValueError as error:
        print(error)
        return 1
    problems = store_problems(options.store, episodes)
    if problems:
        print(f"{options.store}: {len(problems)} problem(s)", *(f"  {problem}" for problem in problems), sep="\n")
        return 1
    print(f"{options.store}: ok: {_summary(load_metadata(options.store))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
