"""What others' parsers raise for damaged archives, as one error for people."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named_damage(what: str, expected: str = "a whole zip") -> Iterator[None]:
    """Turns whatever zipfile, tarfile, lzma and numpy raise for damaged content into a ValueError that begins with ``what``.

    For calls into them alone: an error of our own would be called damage, too. A disk's own errors pass.
    """
    try:
        yield
    except Exception as error:
        # A place before the beginning of a file, which damaged archives tell, is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(
            f"{what}: damaged or cut off ({type(error).__name__}: {error}), expected {expected}: delete the archive and "
            "download it again"
        ) from None
