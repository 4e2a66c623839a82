"""Stop 2: the archive of a published data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamflow.data.downloads import download
from lamflow.data.sources import ArchiveSource


def download_dataset(*, settings: Mapping[str, Any], output: Path | str) -> None:
    """Download an archive to ``output``; ``settings``: ``lamflow.data.sources.ArchiveSource``.

    Its size and sha256 are recorded beside it at the first download. ValueError tells why no address gave it, and the way by
    hand.
    """
    download(ArchiveSource.model_validate(settings), Path(output))
