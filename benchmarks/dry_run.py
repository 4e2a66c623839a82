"""Seconds that Snakemake needs to plan the paper's whole experiment: 16 games, five seeds, every method; here, and for a cluster.

Claim: at most 30 s. Prints one JSON object, with the estimate's totals as they are printed.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.command import arguments

ROOT = Path(__file__).parents[1]
COMMAND = ("-m", "snakemake", "all", "-n", "--quiet", "rules", "--configfile", "config/paper.yaml")
PROFILES = {"without_profile": (), "slurm": ("--profile", "slurm")}
TOTALS = ("jobs", "gpus_a_job", "gpu_hours", "core_hours", "largest_mb", "disk_gb")


def plan(profile: tuple[str, ...]) -> dict[str, float]:
    """Seconds of a dry run, and the last line of its table of costs."""
    started = time.perf_counter()
    command = [sys.executable, *COMMAND, *profile]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    seconds = time.perf_counter() - started
    totals = re.search(r"^total +([\d,.]+(?: +[\d,.]+){5})$", run.stdout, flags=re.MULTILINE)
    assert totals, "a dry run ends with a table of costs and their total"
    figures = (float(figure.replace(",", "")) for figure in totals[1].split())
    return {"seconds": round(seconds, 2), **dict(zip(TOTALS, figures, strict=True))}


def main() -> None:
    plans = {name: plan(profile) for name, profile in PROFILES.items()}
    print(json.dumps({"benchmark": "dry_run", "limit_seconds": 30, "plans": plans}))


if __name__ == "__main__":
    arguments(__doc__)
    main()
