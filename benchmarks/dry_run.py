"""Seconds that Snakemake needs to plan the paper's whole experiment: 16 games, five seeds, every method.

Claim: at most 30 s. Prints one JSON object.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = ("-m", "snakemake", "all", "-n", "--quiet", "rules", "--configfile", "config/paper.yaml")


def main() -> None:
    started = time.perf_counter()
    run = subprocess.run([sys.executable, *COMMAND], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    jobs = re.search(r"^total +(\d+)$", run.stdout + run.stderr, flags=re.MULTILINE)
    assert jobs, "Snakemake prints a table of jobs with their total"
    print(json.dumps({"benchmark": "dry_run", "jobs": int(jobs[1]), "seconds": round(seconds, 2), "limit_seconds": 30}))


if __name__ == "__main__":
    main()
