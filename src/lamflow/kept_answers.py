"""Answers that take long to find, kept between processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from lamflow.atomic_files import write_text

MOST_KEPT = 2000

Answer = TypeVar("Answer", bound=tuple[Any, ...])


class KeptAnswers(dict[str, Answer], Generic[Answer]):
    """Answers by digests of their questions, which a process takes over from those before it and leaves to those after it.

    ``path``: their file, None where there is no place for one. ``read`` makes an answer of what JSON has kept of it. A file that is
    damaged, or of another version, is as good as none.
    """

    is_new = False

    def __init__(self, path: Path | None, read: Callable[[Any], Answer]) -> None:
        super().__init__()
        self.path, self._read = path, read
        self.update(self._in_file())

    def save(self) -> None:
        """Write the newest ``MOST_KEPT`` answers, if there are new ones, with what others have written. What is lost is found again."""
        if self.is_new and self.path is not None:
            kept = dict(list((self._in_file() | self).items())[-MOST_KEPT:])
            with suppress(OSError):
                write_text(self.path, json.dumps(kept))
                self.is_new = False

    def _in_file(self) -> dict[str, Answer]:
        if self.path is None:
            return {}
        try:
            return {str(key): self._read(answer) for key, answer in json.loads(self.path.read_bytes()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
