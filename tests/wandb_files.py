"""What an offline run's file says: records of wandb's protobufs in LevelDB's log format, read as they lie on disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

FILE_HEADER, BLOCK = 7, 32768
RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, kind
FULL, LAST = 1, 4


@dataclass(frozen=True)
class OfflineRun:
    """The run record, its config, and its history as one dict per row."""

    folder: Path
    run: Any
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def curves(self) -> list[dict[str, Any]]:
        """The rows without what wandb adds, but for the step."""
        return [
            {name: value for name, value in row.items() if name == "_step" or not name.startswith("_")}
            for row in self.rows
        ]


def records_of(path: Path) -> Iterator[Record]:
    content, position, parts = path.read_bytes(), FILE_HEADER, b""
    while position + RECORD_HEADER.size <= len(content):
        if BLOCK - position % BLOCK < RECORD_HEADER.size:  # too short for a header: padding
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = RECORD_HEADER.unpack_from(content, position)
        position += RECORD_HEADER.size
        parts += content[position : position + length]
        position += length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


def read_offline_run(folder: Path) -> OfflineRun:
    """The run whose folder this is (``offline-run-<time>-<id>``)."""
    (path,) = folder.glob("run-*.wandb")
    run, config, summary, rows = None, {}, {}, []
    for record in records_of(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            rows.append({_name(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            summary |= {_name(item): json.loads(item.value_json) for item in record.summary.update}
    return OfflineRun(folder, run, config, rows, summary)


def offline_runs(experiment_dir: Path) -> list[OfflineRun]:
    """All runs of an experiment's folder, by name."""
    found = [read_offline_run(folder) for folder in experiment_dir.joinpath("wandb").glob("offline-run-*")]
    return sorted(found, key=lambda found: found.run.display_name)


def _name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)
