"""The rule ``note_left_out``: what the experiment leaves out, for its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.provenance import record_provenance


def note_left_out(*, texts: Sequence[str], output: Path | str) -> None:
    """Write each of ``texts`` as a paragraph of reStructuredText."""
    started = time.monotonic()
    write_text(Path(output), "".join(f"**Left out.** {_escaped(text)}\n\n" for text in texts))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"texts": list(texts)},
        inputs={},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )


def _escaped(text: str) -> str:
    """Names may end with an underscore, which would be a reference."""
    return text.replace("\\", "\\\\").replace("_", r"\_").replace("*", r"\*")
