"""The tiny run's results as they were: what only moves code about must leave every number as it is.

A run is a function of its settings, seeds, code, packages and processor, so equal_results.json holds digests by processor. A change that
is meant to change results writes those of this machine anew, and its commit says why:
``LAMFLOW_RECORD_RESULTS=1 pytest tests/workflow/test_equal_results.py``. On a processor without a record there is nothing to compare with.
"""

import csv
import hashlib
import io
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest
from compared import results_of
from safetensors.numpy import load

RECORD = Path(__file__).with_name("equal_results.json")
NUMBERS = ("data", "experts", "lam", "latents", "decoders", "policies", "online", "evaluation", "summary")
"""Folders of what is computed; figures are drawn from it."""


def this_machine() -> str:
    """What decides about roundings, beside the code: the kind of processor, and the packages that compute on it."""
    told: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    family = " ".join(told.get(name, "") for name in ("vendor_id", "cpu family", "model"))
    flags = hashlib.sha256(told.get("flags", "").encode()).hexdigest()[:8]
    return f"{platform.machine()} {family}, flags {flags}, torch {version('torch')}, jax {version('jax')}"


def numbers_of(path: str, content: bytes) -> bytes:
    """Tables without sentences and the columns of later versions, chunks of arrays, and the tensors of models: metadata may get another
    key."""
    if path.endswith(".csv"):
        return _numbers_of_table(content)
    if not path.endswith(".safetensors"):
        return content
    tensors = load(content)
    return b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))


def _numbers_of_table(content: bytes) -> bytes:
    """All tables got ``policy_episodes`` and ``split``, which those of agents had before, and those of trainings always. ``reason`` is a
    sentence."""
    names, *rows = csv.reader(io.StringIO(content.decode()))
    later = {"policy_episodes"} if "return_std" in names or "step" in names else {"policy_episodes", "split"}
    kept = [place for place, name in enumerate(names) if name not in {*later, "reason"}]
    if len(kept) == len(names):
        return content
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([row[place] for place in kept] for row in (names, *rows))
    return buffer.getvalue().encode()


def digests_of(checkout: Path) -> dict[str, str]:
    return {
        path: hashlib.sha256(numbers_of(path, content)).hexdigest()[:12]
        for path, content in sorted(results_of(checkout).items())
        if path.split("/")[0] in NUMBERS and not path.endswith(".json")
    }


@pytest.mark.slow
def test_every_number_of_the_tiny_run_is_what_it_was(tiny_run: Path) -> None:
    record: dict[str, dict[str, str]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    found, machine = digests_of(tiny_run), this_machine()
    assert len(found) > 100
    if os.environ.get("LAMFLOW_RECORD_RESULTS"):
        RECORD.write_text(json.dumps(record | {machine: found}, indent=1, sort_keys=True) + "\n")
        pytest.skip(f"recorded for {machine}")
    if machine not in record:
        pytest.skip(f"nothing is recorded for {machine}")
    wanted = record[machine]
    changed = sorted(path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path))
    assert changed == []
