"""Arms of a comparison: a process each, which play a round in turns, so that other work on the machine meets them all alike.

Peak memory and malloc's settings are each arm's own. A figure is the median over the rounds, and a ratio of two arms the median of the
rounds' ratios.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from bench.machine import Ceiling, machine_facts, peak_memory, scaled
from lamflow.training.precision import Precision

Figures = dict[str, float]
Round = Callable[[], Figures]
"""Plays one round and answers its figures."""
MakeArm = Callable[[], Round]
"""Called in the arm's own process; picklable, so a function of a module or a ``partial`` of one."""
THREADS = scaled(1, os.cpu_count() or 1)
"""Threads of an arm: one where it computes on the CPU, as a workflow's job has one core."""


@dataclass(frozen=True)
class Turns:
    """Figures of each round, arm by arm, and each arm's peak memory."""

    rounds: tuple[dict[str, Figures], ...]
    peaks: dict[str, Figures]

    def median(self, arm: str, figure: str) -> float:
        """Of an arm, over the rounds."""
        return statistics.median(played[arm][figure] for played in self.rounds)

    def ratio(self, arm: str, other: str, figure: str, other_figure: str | None = None) -> float:
        """``figure`` of ``arm`` over that (or ``other_figure``) of ``other``: the median of the rounds' ratios."""
        return statistics.median(played[arm][figure] / played[other][other_figure or figure] for played in self.rounds)


def take_turns(arms: Mapping[str, MakeArm], *, rounds: int) -> Turns:
    """Let the arms play ``rounds`` rounds after one that does not count; what they print goes to the standard error."""
    context = multiprocessing.get_context("spawn")
    connections: dict[str, Connection] = {}
    for name, make in arms.items():
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, make, THREADS), name=name, daemon=True).start()
        theirs.close()
        connections[name] = ours
    for connection in connections.values():
        _asked(connection, True)
    played = tuple({name: _asked(ours, True) for name, ours in connections.items()} for _ in range(rounds))
    return Turns(played, {name: _asked(ours, False) for name, ours in connections.items()})


def _asked(connection: Connection, goes_on: bool) -> Figures:
    connection.send(goes_on)
    figures: Figures = connection.recv()
    return figures


def _serve(connection: Connection, make: MakeArm, threads: int) -> None:
    """What an arm's process does: a round for each True, its peak memory for False."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(threads)
    play = make()
    while connection.recv():
        connection.send(play())
    connection.send(peak_memory())


def compared(
    arms: Mapping[str, MakeArm],
    *,
    rounds: int,
    gflop_a_sample: float,
    precisions: Mapping[str, Precision],
    shown: Sequence[str] = (),
) -> dict[str, Any]:
    """Samples a second of arms whose rounds answer ``samples`` and ``seconds``, beside the machine's ceiling in the same rounds.

    ``precisions`` are those that the arms compute in. FLOP are those of the plain form, for every arm; the ceiling is that of the arm's
    precision. ``shown`` are other figures of the rounds to be told. Ratios are over the first arm.
    """
    rated = {name: _Rated(make) for name, make in arms.items()}
    turns = take_turns({**rated, "ceiling": Ceiling}, rounds=rounds)
    baseline = next(iter(arms))
    shares = {
        name: gflop_a_sample * turns.ratio(name, "ceiling", "samples_per_second", precisions[name].name)
        for name in arms
    }
    return {
        "gflop_a_sample": round(gflop_a_sample, 4),
        "ceiling": {
            "float32_gflop_per_second": round(turns.median("ceiling", "float32")),
            "bf16_gflop_per_second": round(turns.median("ceiling", "bf16")),
            "copy_gb_per_second": round(turns.median("ceiling", "copy_gb"), 1),
        },
        "arms": {
            name: {
                "precision": precisions[name].name,
                "because": precisions[name].reason,
                "samples_per_second": rounded(turns.median(name, "samples_per_second")),
                "gflop_per_second": rounded(turns.median(name, "samples_per_second") * gflop_a_sample),
                "share_of_ceiling": rounded(shares[name]),
                **{figure: rounded(turns.median(name, figure)) for figure in shown},
                **turns.peaks[name],
            }
            for name in arms
        },
        "ratios": {
            f"{name}_over_{baseline}": rounded(turns.ratio(name, baseline, "samples_per_second"))
            for name in arms
            if name != baseline
        },
    }


@dataclass(frozen=True)
class _Rated:
    """An arm with ``samples_per_second`` among its figures."""

    make: MakeArm

    def __call__(self) -> Round:
        play = self.make()

        def rated() -> Figures:
            figures = play()
            return {**figures, "samples_per_second": figures["samples"] / figures["seconds"]}

        return rated


def rounded(value: float) -> float:
    """Three digits."""
    return float(f"{value:.3g}")


def report(benchmark: str, **content: Any) -> None:
    """Print the one JSON object of a benchmark."""
    print(json.dumps({"benchmark": benchmark, "machine": machine_facts(THREADS), **content}))
