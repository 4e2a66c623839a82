"""Archives from the network: several addresses, resumed where the line was cut, remembered by size and sha256."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from lamflow.atomic_files import write_text
from lamflow.data.group_writer import sha256_of
from lamflow.data.sources import ArchiveSource

FULL_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAGIC: Final = {".zip": b"PK\x03\x04", ".xz": b"\xfd7zXZ\x00"}
_QUOTA: Final = (b"too many users have viewed or downloaded", b"quota exceeded", b"have had many accesses")
_DRIVE_HOSTS: Final = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_BLOCK_BYTES: Final = 1 << 20
_TIMEOUT_SECONDS: Final = 60
_ATTEMPTS: Final = 5
"""Attempts in a row that bring nothing new before an address is given up."""


class _NoFileError(Exception):
    """Why an address gave no file."""


def record_path(archive: Path) -> Path:
    """The file beside an archive that holds its size and sha256, as they were when it was first seen."""
    return archive.with_name(f"{archive.name}.lock.json")


def download(source: ArchiveSource, target: Path, *, pause_seconds: float = 2.0) -> None:
    """Download ``source`` to ``target``, from the first of its addresses that gives it.

    A half-downloaded file stays beside ``target`` and is gone on with the next time. An archive that is there already is
    only checked. ValueError when no address gives it, with the reason of each and the way by hand; when it is not what
    ``check_archive`` expects; when the disk has no room. ``pause_seconds``: before an address is asked again.
    """
    if target.exists():
        check_archive(target, source)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in source.urls:
        partial = target.with_name(f".{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.partial")
        try:
            _fetch(url, partial, pause_seconds)
            _check_kind(partial, target)
        except _NoFileError as error:
            reasons.append(f"  {url}: {error}")
            continue
        except OSError as error:
            raise _explained(error, partial) from error
        check_archive(partial, source, recorded_for=target)
        partial.replace(target)
        return
    raise ValueError("\n".join([f"{target}: no address gave this file:", *reasons, by_hand(source, target)]))


def by_hand(source: ArchiveSource, target: Path) -> str:
    """What to do where the network gives nothing."""
    address = source.urls[0] if source.urls else "the publisher's page"
    return (
        f"By hand: open {address} in a browser, save the file as {target}, and run again; or name a copy in "
        "config/datasets.yaml (path), or another address (urls)."
    )


def check_archive(archive: Path, source: ArchiveSource, *, recorded_for: Path | None = None) -> None:
    """ValueError unless the file is there, a file of its kind, and of the size and sha256 that ``source`` or its record tells.

    Where there is no record, it is made now. The sha256 of a file whose size and time of change are those of its record is not
    computed again. ``recorded_for``: the name that ``archive`` will have.
    """
    name = recorded_for or archive
    if not archive.is_file():
        raise ValueError(f"{archive}: found nothing, expected an archive. {by_hand(source, name)}")
    try:
        _check_kind(archive, name)
    except _NoFileError as error:
        raise ValueError(f"{archive}: {error}. {by_hand(source, name)}") from None
    record = record_path(name)
    known = _read_record(record)
    status = archive.stat()
    unchanged = known.get("size") == status.st_size and known.get("modified_ns") == status.st_mtime_ns
    found: dict[str, Any] = {"size": status.st_size, "sha256": known["sha256"] if unchanged else sha256_of(archive)}
    for key, told, where in [
        *((key, getattr(source, key), "config/datasets.yaml") for key in found),
        *((key, known.get(key), f"{record}, written when the file was first seen") for key in found),
    ]:
        if told is not None and told != found[key]:
            raise ValueError(
                f"{archive}: found {key} {found[key]}, expected {told} ({where}): delete the file to download it again; if its "
                "publisher has changed it, correct what is expected"
            )
    if not unchanged:
        write_text(record, json.dumps({**found, "modified_ns": status.st_mtime_ns}, indent=2) + "\n")


def _read_record(record: Path) -> dict[str, Any]:
    if not record.exists():
        return {}
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        return {"size": int(known["size"]), "sha256": str(known["sha256"]), "modified_ns": int(known["modified_ns"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{record}: damaged ({type(error).__name__}: {error}), expected size and sha256: delete it to record them anew"
        ) from None


def _check_kind(file: Path, name: Path) -> None:
    """_NoFileError, and ``file`` is removed if it is a half-downloaded one, unless it begins as ``name``'s ending says."""
    with file.open("rb") as opened:
        head = opened.read(1 << 16)
    if name.suffix not in _MAGIC:
        raise _NoFileError(f"found a name that ends in {name.suffix!r}, expected {' or '.join(_MAGIC)}: rename it")
    if head.startswith(_MAGIC[name.suffix]):
        return
    if file != name:
        file.unlink()
    if any(words in head.lower() for words in _QUOTA):
        raise _NoFileError(_QUOTA_MESSAGE)
    page = head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head"))
    kind = "an HTML page" if page else f"a file that begins with {head[:8]!r}"
    raise _NoFileError(f"found {kind}, expected {name.suffix.removeprefix('.')} data")


_QUOTA_MESSAGE: Final = (
    "Google Drive's quota is used up: too many people have downloaded this file lately. It opens again within 24 hours; in a browser "
    "that is signed in, 'Add shortcut to Drive' and 'Make a copy' give a copy of your own, whose address can be added to urls"
)


def _fetch(url: str, partial: Path, pause_seconds: float) -> None:
    """Bring ``partial`` to its full length."""
    parts = urlsplit(url)
    if parts.hostname in _DRIVE_HOSTS:
        _fetch_from_drive(url, partial)
    elif parts.scheme in ("http", "https"):
        _fetch_over_http(url, partial, pause_seconds)
    else:
        raise _NoFileError(f"found an address of kind {parts.scheme!r}, expected http or https")


def _fetch_from_drive(url: str, partial: Path) -> None:
    import gdown

    try:
        gdown.download(
            url=url,
            output=str(partial),
            resume=True,
            use_cookies=False,
            timeout=_TIMEOUT_SECONDS,
            retries=_ATTEMPTS,
        )
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        text = " ".join(str(error).split())
        used_up = any(words in text.lower().encode() for words in _QUOTA)
        raise _NoFileError(_QUOTA_MESSAGE if used_up else f"{type(error).__name__}: {text}") from None
    if not partial.exists():
        raise _NoFileError("gdown wrote no file")
    _set_usual_mode(partial)


def _set_usual_mode(file: Path) -> None:
    """The mode that the umask says: gdown's files come from tempfile, and only their owner may read those."""
    usual = file.with_name(f".{file.name}.mode")
    usual.touch()
    shutil.copymode(usual, file)
    usual.unlink()


def _fetch_over_http(url: str, partial: Path, pause_seconds: float) -> None:
    attempts = 0
    while True:
        before = _size(partial)
        try:
            total = _receive(url, partial)
            if total is None or _size(partial) == total:
                return
            reason = f"the connection ended after {_size(partial)} of {total} bytes"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise _NoFileError(f"the server answered {error.code} {error.reason}") from None
            reason = f"the server answered {error.code} {error.reason}"
        except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"
        attempts = 0 if _size(partial) > before else attempts + 1
        if attempts == _ATTEMPTS:
            raise _NoFileError(f"{reason}; {attempts} attempts in a row brought nothing")
        print(f"{url}: {reason}; trying again", flush=True)
        time.sleep(pause_seconds)


def _receive(url: str, partial: Path) -> int | None:
    """Ask for what ``partial`` lacks and append it; the length of the whole file, None where the server does not tell it."""
    have = _size(partial)
    request = urllib.request.Request(
        url, headers={"User-Agent": "lamflow"} | ({"Range": f"bytes={have}-"} if have else {})
    )
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return have
            partial.unlink()  # longer than the file at this address, so of another file
            return _receive(url, partial)
        raise
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException(
                f"asked for bytes from {have} on, got {answer.headers.get('Content-Range')}"
            )
        length = answer.headers.get("Content-Length")
        if length is not None:
            _check_room(partial, int(length))
        with partial.open("ab" if resumed else "wb") as opened:
            shutil.copyfileobj(answer, opened, _BLOCK_BYTES)
    return None if length is None else int(length) + (have if resumed else 0)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _check_room(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"found {free / 1e9:.2f} GB free, the rest of the file needs {needed / 1e9:.2f} GB",
            str(partial),
        )


def _explained(error: OSError, partial: Path) -> OSError:
    if error.errno not in FULL_DISK:
        return error
    return OSError(
        error.errno,
        f"the disk is full ({error.strerror}); {_size(partial) / 1e9:.2f} GB are kept and the download goes on from there: free disk "
        "space and run again",
        str(partial),
    )
