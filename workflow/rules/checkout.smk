"""Where the checkout lies: its package and its data are read from there. All else begins with it, so it imports nothing of lamflow."""

import os
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from snakemake.exceptions import WorkflowError


def checkout_of(folder):
    """The checkout that ``folder`` is the workflow/ of, a source of Snakemake's: of a repository that it has cloned, as by `github(...)`, a
    checkout is unpacked."""
    local = Path(folder.get_path_or_uri(secret_free=True)).parent
    if local.is_dir():
        return local
    if hasattr(folder, "hosted_repo"):
        return unpacked_checkout(folder.hosted_repo.repo, folder.ref)
    raise WorkflowError(
        f"{folder}: the rules need the package and the data of their checkout, and Snakemake fetches single files from there. Name the "
        "Snakefile of a clone, or a repository: github(...), gitlab(...)."
    )


def unpacked_checkout(repository, ref):
    """A checkout in the user's cache, one per commit. Snakemake itself would hand out single files of its clone, as text alone."""
    commit = repository.commit(ref).hexsha
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "lamflow" / "checkouts" / commit
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as new, TemporaryFile() as archive:
            repository.archive(archive, commit)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as members:
                members.extractall(Path(new, commit), filter="data")
            with suppress(OSError):  # another process has been faster
                Path(new, commit).rename(folder)
    return folder
