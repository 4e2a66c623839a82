"""What an import says in the log of its job: how far it is, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from lamflow.episodes.interface import EpisodeEntry
from lamflow.training.time_left import time_left

RERUNS_NOTHING = "It says how far an import is."

SECONDS_BETWEEN_LINES = 5.0
BAR_WIDTH = 20
T = TypeVar("T")


class ImportProgress:
    """Prints lines that start with ``title``, of episodes of which some are ``done`` (their rows). ``lamflow.runs.training_lines`` reads
    them."""

    def __init__(self, title: str, episodes: Sequence[EpisodeEntry], done: Sequence[int]) -> None:
        self._title = title
        self._num_episodes, self._episode = len(episodes), len(done)
        known = [entry.rows for entry in episodes if entry.rows is not None]
        self._total_rows = sum(known) if len(known) == len(episodes) else None
        self._first_rows = self._rows = sum(done)
        self._first_episode = len(done)
        self._started = self._last_line = time.monotonic()

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, each an episode, which is done when the next one is asked for."""
        for item in items:
            yield item
            self._episode += 1

    def add(self, rows: int) -> None:
        """So many more rows are done."""
        self._rows += rows
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(self._line(), flush=True)

    def end(self) -> None:
        """Say how it went."""
        seconds = time.monotonic() - self._started
        print(
            f"{self._title}: {self._rows - self._first_rows} rows of {self._episode - self._first_episode} episodes in {seconds:.1f} s "
            f"({self._rate:.0f} rows/s)",
            flush=True,
        )

    @property
    def _rate(self) -> float:
        return (self._rows - self._first_rows) / max(time.monotonic() - self._started, 1e-9)

    def _line(self) -> str:
        counted = "row" if self._total_rows else "episode"
        done, total = (
            (self._rows, self._total_rows) if self._total_rows else (self._episode, max(1, self._num_episodes))
        )
        first = self._first_rows if self._total_rows else self._first_episode
        share = min(1.0, done / total)
        bar = "#" * int(BAR_WIDTH * share) + "." * (BAR_WIDTH - int(BAR_WIDTH * share))
        seconds = time.monotonic() - self._started
        left = time_left(seconds * (total - done) / (done - first)) if done > first else "unknown time"
        said = f"[{bar}] {self._rows} rows, {self._episode} of {self._num_episodes} episodes"
        return f"{self._title}: {counted} {done} of {total}: {said} ({self._rate:.0f} rows/s, {left} left)"
