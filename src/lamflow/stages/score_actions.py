"""Stop 7 where nobody plays: one method's answers beside the recorded actions of held-out episodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.atomic_files import write_text
from lamflow.data.label_budgets import LabelCount
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.action_errors import MEASURES, ActionErrors, action_errors, best_constant
from lamflow.evaluation.columns import ACTIONS_COLUMNS
from lamflow.evaluation.csv_text import csv_text
from lamflow.methods.acting import Acts
from lamflow.methods.jobs import Job
from lamflow.methods.reading import ReadsActions, read_actions
from lamflow.methods.settings import MethodSettings, method_settings
from lamflow.play.replay import answered_actions
from lamflow.policies.members import LabelDraws, Member
from lamflow.provenance import note_sources, record_provenance
from lamflow.settings import Settings
from lamflow.stages.code import methods_code

log = logging.getLogger(__name__)

BLOCK_ROWS = 65_536
"""Rows whose answers are in memory at once, and those of the episode that they end in."""
Answer = Callable[[Tensor], Tensor]
"""Ascending rows int64 [N] to the actions of all members there, [M, N, ...]."""


def score_actions(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: LabelDraws,
    seed: int,
    episodes: Path | str,
    policy: Path | str | None,
    decoders: Path | str | None,
    lam: Path | str | None,
    output: Path | str,
) -> None:
    """Compare the actions of the test store ``episodes``, where they are known, with those that every agent of ``method`` (one per label
    count and draw) would have taken there, and with those that its decoders read off the transitions; a row per episode and entry of an
    action, see ``lamflow.evaluation.action_errors``.

    Counted are rows with a known action and a next frame. Agents see an episode in its order, with the observations that were recorded,
    and answer their most likely action. Latent methods decode what the model ``lam`` says of a transition; VPT's inverse dynamics models
    look at it themselves. Without a known action the table is empty, and a warning says so.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    typed = method_settings({key: value for key, value in settings.items() if key != "action_selection"})
    given = {"episodes": episodes, "policy": policy, "decoders": decoders, "lam": lam}
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    store = EpisodeStore.open(episodes, env=spec.name)
    data = EpisodeTensors.open(store, window_gib=0)
    rows = data.labelled_rows
    components: list[Settings] = []
    written: list[Sequence[Any]] = []
    if len(rows):
        job = Job(method, spec, seed, inputs, labels, label_draws)
        episode = _episode_numbers(store, rows)
        for what, members, answer in _answers(job, typed, data, components):
            errors = _errors(spec, data, rows, episode, answer)
            written += _rows(errors, members, (spec.name, method, seed), typed.policy_episodes or "", what, spec)
    else:
        log.warning(
            "%s: found no transition whose action is known, expected some: nothing that %s answers in %s can be scored",
            *(store.path, method, spec.name),
        )
    code = methods_code(__name__, [typed], "scores", spec, components)
    note_sources(code)
    write_text(Path(output), csv_text(ACTIONS_COLUMNS, written))
    record_provenance(
        Path(output),
        code=code,
        settings={"method": dict(settings), "labels": list(labels), "label_draws": label_draws},
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _errors(
    spec: EnvironmentSpec, data: EpisodeTensors, rows: Tensor, episode_N: Tensor, answer: Answer
) -> ActionErrors:
    """Of the answers at all ``rows`` [N], block by block of whole episodes."""
    constant = best_constant(spec.action, data.actions[rows].cpu())
    ends = episode_N.unique_consecutive(return_counts=True)[1].cumsum(0)
    cuts = ends[(ends // BLOCK_ROWS).diff(append=ends[-1:] // BLOCK_ROWS + 1) > 0]
    return ActionErrors.joined(
        [
            action_errors(spec.action, answer(block), data.actions[block].cpu(), own, constant)
            for block, own in zip(rows.tensor_split(cuts[:-1]), episode_N.tensor_split(cuts[:-1]), strict=True)
        ]
    )


def _answers(
    job: Job, typed: MethodSettings, data: EpisodeTensors, components: list[Settings]
) -> Iterator[tuple[str, Sequence[Member], Answer]]:
    """Agent or decoder, the members, and how they answer; the ``components`` of decoders are told."""
    acting: Acts = typed.build()
    members, agent = acting.agent(job, "argmax")
    print(f"answers of {job.method} in {job.spec.name}, seed {job.seed}: precision {agent.precision}")
    yield "agent", members, partial(answered_actions, agent, data, job.spec)
    if typed.reads_with is not None:
        reading: ReadsActions = typed.build()
        members, reader = reading.action_reader(job)
        components += reader.components
        yield "decoder", members, partial(read_actions, reader, data, _row_bytes(job.spec))


def _row_bytes(spec: EnvironmentSpec) -> int:
    return int(np.prod(spec.frame_shape)) * np.dtype(spec.main_part.dtype).itemsize


def _episode_numbers(store: EpisodeStore, rows: Tensor) -> Tensor:
    """int64 [N]: which episode of the store each of the rows is of."""
    starts: NDArray[np.int64] = store.array("episode_starts")[...]
    return torch.from_numpy(np.searchsorted(starts, rows.cpu().numpy(), side="right") - 1)


def _rows(
    errors: ActionErrors,
    members: Sequence[Member],
    run: Sequence[str | int],
    policy_episodes: str | int,
    what: str,
    spec: EnvironmentSpec,
) -> Iterator[Sequence[Any]]:
    """The rows of actions.csv; ``run``: environment, method and seed."""
    counts = list(zip(errors.episodes.tolist(), errors.rows.tolist(), strict=True))
    measure = MEASURES[spec.action.kind]
    constant, scales = errors.constant.tolist(), errors.scales.tolist()
    for member, of_member in zip(members, errors.errors.tolist(), strict=True):
        agent = [*run, member.labels, member.label_draw, policy_episodes, what, measure]
        for place, (episode, rows) in enumerate(counts):
            for entry, numbers in enumerate(zip(of_member[place], constant[place], scales[place], strict=True)):
                yield [*agent, episode, rows, entry, *(f"{number:.9g}" for number in numbers)]
