"""Results of runs, read and compared."""

import csv
from pathlib import Path

UNCOMPARED = ("benchmarks", "events", "logs", "state", "plan.json", "report.html")
"""They tell of the run: when, how long, in how many attempts."""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def results_of(checkout: Path, experiment: str = "tiny") -> dict[str, bytes]:
    """Contents of all result files by path, without the provenance beside each artefact, which says when it was made."""
    root = checkout / "results" / experiment
    paths = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    artefacts = [path for path in paths if path.parts[0] not in UNCOMPARED and not is_provenance(path)]
    return {str(path): root.joinpath(path).read_bytes() for path in artefacts}


def is_provenance(path: Path) -> bool:
    return path.suffix == ".json" and not any(parent.suffix == ".zarr" for parent in path.parents)


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Paths whose contents differ or that only one of two runs has."""
    return sorted(path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path))
