"""Freed memory stays with the process, so that the next tensor of its size costs no page faults."""

import subprocess
import sys
from pathlib import Path

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


HUGE = """
import sys
from lamflow.training.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
held = b"x" * 2**26  # numpy asks for huge pages by itself
pages = [line.split() for line in open("/proc/self/smaps_rollup")]
print(next(int(line[1]) for line in pages if line[0] == "AnonHugePages:"))
"""


def test_large_arrays_lie_in_huge_pages_where_the_kernel_gives_them_on_request() -> None:
    mode = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not mode.exists() or "[madvise]" not in mode.read_text(encoding="utf-8"):
        pytest.skip("this kernel gives huge pages to all processes or to none")
    found = {
        argument: int(subprocess.run([sys.executable, "-c", HUGE, argument], capture_output=True, check=True).stdout)
        for argument in ("kept", "given back")
    }
    assert found["kept"] > found["given back"] + 48 * 1024  # kilobytes, of 64 MB
