"""Freed memory stays with the process, so that the next tensor of its size costs no page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
import numpy as np
from lamflow.training.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones(8 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8 * 2**20)  # 64 MB, above glibc's largest threshold for a mapping of its own
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_a_freed_array_is_used_again() -> None:
    assert page_faults("kept") < page_faults("given back") / 5
