"""Digests of data, and the JSON neighbour that says how an artefact came to be."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lamflow.atomic_files import write_text
from lamflow.checkout import this_checkout
from lamflow.code_digests import Code, source_of

RECORDED_PACKAGES = ("torch", "jax", "xminigrid", "numpy", "zarr", "snakemake")
RERUNS_NOTHING = "An artefact is what it was, whatever is written beside it."


def settings_digest(settings: Any) -> str:
    """Digest of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """sha256 of a file, or of a directory's file names and contents in order."""
    digest = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(str(part.relative_to(path)).encode())
        with part.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def note_sources(code: Code) -> None:
    """Read now what ``record_provenance`` will say of the sources: they may be edited while the job runs."""
    this_checkout()
    if source_of(code.stage):
        _ = code.digest


# What the neighbour tells is found when the work is done: where a fact cannot be had, it is left open, and the artefact stands.


def _versions() -> dict[str, str]:
    versions = {}
    for package in RECORDED_PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _foreign(code: Code) -> dict[str, str]:
    """The versions of the packages of other people whose components or environments a job runs."""
    modules = {*(name for name in code.components), *(module for _, module in code.choices if module)}
    packages = {module.partition(":")[0].partition(".")[0] for module in modules} - {"lamflow"}
    versions: dict[str, str] = {}
    if packages:
        for package, distributions in importlib.metadata.packages_distributions().items():
            if package in packages:
                versions |= {name: importlib.metadata.version(name) for name in distributions}
    return versions


def _device() -> str:
    """What a stage computes on: the name of the GPU, or cpu. A stage that has not loaded torch has no use for a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu"
    try:
        return str(torch.cuda.get_device_name())
    except RuntimeError:
        return "cuda"


def _input(path: Path) -> dict[str, str | None]:
    """Where an input lies and its digest, None where it cannot be read any more."""
    try:
        return {"path": str(path), "sha256": file_digest(path)}
    except OSError:
        return {"path": str(path), "sha256": None}


def origin() -> dict[str, Any]:
    """What git says of the checkout (see ``Checkout``), and the versions of ``RECORDED_PACKAGES``."""
    checkout = this_checkout()
    return {"commit": checkout.commit, "uncommitted": checkout.uncommitted, "packages": _versions()}


def _origin_with(code: Code) -> dict[str, Any]:
    found = origin()
    return {**found, "packages": {**found["packages"], **_foreign(code)}}


def record_provenance(
    artefact: Path,
    *,
    code: Code,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    seed: int | None,
    wall_seconds: float,
    precision: Iterable[object] = (),
) -> None:
    """Write ``<artefact>.json``'s neighbour (suffix replaced by .json): how the artefact came to be.

    ``precision``: those that its networks computed in (``lamflow.training.precision.Precision``), None of what has no network.
    """
    write_text(
        artefact.with_suffix(".json"),
        json.dumps(
            {
                "artefact": artefact.name,
                "stage": code.stage,
                "settings": dict(settings),
                "seed": seed,
                "inputs": {name: _input(path) for name, path in inputs.items()},
                "code_digest": code.digest,
                **_origin_with(code),
                "wall_seconds": round(wall_seconds, 3),
                "device": _device(),
                "precision": sorted({str(taken) for taken in precision if taken is not None}),
            },
            indent=2,
        )
        + "\n",
    )
