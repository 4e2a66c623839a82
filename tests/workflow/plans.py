"""What Snakemake says of its plans."""

import re
from pathlib import Path


def jobs_in(said: str) -> list[str]:
    """The messages of the jobs that a dry run plans; [] when nothing is to be done."""
    jobs = re.findall(r"^Job \d+: (.*)$", said, flags=re.MULTILINE)
    assert bool(jobs) != ("Nothing to be done" in said), said[-3000:]
    return jobs


def without_messages(checkout: Path) -> None:
    """Snakemake prints the resources of rules without a message only: takes the messages out of a checkout's rules."""
    for path in checkout.joinpath("workflow", "rules").glob("*.smk"):
        path.write_text(
            re.sub(r"^    message:\n        .*\n", "", path.read_text("utf-8"), flags=re.MULTILINE), "utf-8"
        )
