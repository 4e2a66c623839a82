"""Downloading from a local server that behaves as servers do."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import gdown
import numpy as np
import pytest

from lamflow.data.downloads import check_archive, record_path
from lamflow.data.downloads import download as download_archive
from lamflow.data.sources import ArchiveSource
from lamflow.stages.download_dataset import download_dataset

CONTENT = b"PK\x03\x04" + np.random.default_rng(0).bytes(3_000_000)
QUOTA_PAGE = (
    b"<!DOCTYPE html><html><body>Sorry, too many users have viewed or downloaded this file recently.</body></html>"
)
DRIVE = "https://drive.google.com/uc?id=abc"


class Server(NamedTuple):
    """``address`` ends in a slash; ``requests`` are (path, Range) in their order; ``cuts``: answers that end half-way."""

    address: str
    requests: list[tuple[str, str | None]]
    cuts: list[int]


@pytest.fixture
def server() -> Iterator[Server]:
    requests: list[tuple[str, str | None]] = []
    cuts: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            requests.append((self.path, wanted))
            if self.path == "/page.zip":
                self.answer(200, QUOTA_PAGE)
            elif self.path == "/plain.zip" or (self.path == "/file.zip" and wanted is None):
                self.answer(200, CONTENT)
            elif self.path == "/file.zip":
                start = int(str(wanted).removeprefix("bytes=").removesuffix("-"))
                if start >= len(CONTENT):
                    self.answer(416, b"", {"Content-Range": f"bytes */{len(CONTENT)}"})
                else:
                    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
                    self.answer(206, CONTENT[start:], {"Content-Range": span})
            elif self.path == "/broken.zip":
                self.answer(503, b"")
            else:
                self.answer(404, b"")

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: cuts.pop(0)] if cuts and body else body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield Server(f"http://127.0.0.1:{running.server_port}/", requests, cuts)
        running.shutdown()


def source(*urls: str, **changes: Any) -> ArchiveSource:
    return ArchiveSource.model_validate({"urls": urls, "licence": "a test", "version": "1"} | changes)


def download(given: ArchiveSource, target: Path) -> None:
    download_archive(given, target, pause_seconds=0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "lapo" / "maze.zip"


def test_a_download_is_whole_and_its_size_and_digest_are_recorded(server: Server, target: Path) -> None:
    download_dataset(settings=source(f"{server.address}file.zip").model_dump(mode="json"), output=target)
    assert target.read_bytes() == CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    record = json.loads(record_path(target).read_text())
    assert record == {"size": len(CONTENT), "sha256": digest, "modified_ns": target.stat().st_mtime_ns}
    assert sorted(file.name for file in target.parent.iterdir()) == ["maze.zip", "maze.zip.lock.json"]


def test_a_cut_connection_is_resumed_where_it_was_cut(server: Server, target: Path) -> None:
    server.cuts.extend([1_000_000, 500_000])
    download(source(f"{server.address}file.zip"), target)
    assert target.read_bytes() == CONTENT
    assert [span for _, span in server.requests] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_download_goes_on_from_what_an_earlier_run_has_left(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cuts.append(1_000_000)
    with monkeypatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            download(source(f"{server.address}file.zip"), target)
    assert not target.exists()
    download(source(f"{server.address}file.zip"), target)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == ("/file.zip", "bytes=1000000-")


def test_a_server_without_ranges_is_asked_for_the_whole_file_again(server: Server, target: Path) -> None:
    server.cuts.append(1_000_000)
    download(source(f"{server.address}plain.zip"), target)
    assert target.read_bytes() == CONTENT


def test_the_next_address_is_asked_when_one_fails(server: Server, target: Path) -> None:
    download(source(*(f"{server.address}{name}.zip" for name in ("missing", "page", "broken", "file"))), target)
    assert target.read_bytes() == CONTENT


def test_when_every_address_fails_each_reason_and_the_way_by_hand_are_told(server: Server, target: Path) -> None:
    urls = [f"{server.address}{name}.zip" for name in ("missing", "page", "broken")]
    with pytest.raises(ValueError) as caught:
        download(source(*urls, "ftp://x/y.zip"), target)
    message = str(caught.value)
    assert f"{urls[0]}: the server answered 404" in message
    assert f"{urls[1]}: Google Drive's quota is used up" in message
    assert f"{urls[2]}: the server answered 503" in message and "5 attempts in a row" in message
    assert "found an address of kind 'ftp'" in message
    assert f"By hand: open {urls[0]} in a browser, save the file as {target}, and run again" in message
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("key", ["size", "sha256"])
def test_a_file_that_is_not_as_listed_is_refused(server: Server, target: Path, key: str) -> None:
    wrong = {"size": 5, "sha256": "0" * 64}[key]
    found = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}[key]
    with pytest.raises(ValueError, match=rf"found {key} {found}, expected {wrong} \(config/datasets\.yaml\): delete"):
        download(source(f"{server.address}file.zip", **{key: wrong}), target)
    assert not target.exists()


def test_a_file_that_is_not_as_it_was_the_first_time_is_refused(server: Server, target: Path) -> None:
    download(source(f"{server.address}file.zip"), target)
    target.unlink()
    record_path(target).write_text(json.dumps({"size": len(CONTENT), "sha256": "1" * 64, "modified_ns": 0}))
    with pytest.raises(
        ValueError, match=rf"found sha256 {hashlib.sha256(CONTENT).hexdigest()}, expected 1+ .*first seen"
    ):
        download(source(f"{server.address}file.zip"), target)
    assert not target.exists()


def test_an_archive_that_is_there_is_checked_and_not_fetched_again(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    download(source(f"{server.address}file.zip"), target)
    assert server.requests == [] and record_path(target).exists()
    target.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ValueError, match=r"maze\.zip: found sha256 \w+, expected \w+ \(.*lock\.json"):
        download(source(f"{server.address}file.zip"), target)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"maze\.zip: found size 3000003, expected 3000004"):
        download(source(f"{server.address}file.zip"), target)


def test_a_page_that_was_saved_by_hand_in_place_of_the_archive_is_refused(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"\n<html><head>Virus scan warning</head></html>")
    with pytest.raises(ValueError, match=r"maze\.zip: found an HTML page, expected zip data\. By hand: open https://x"):
        check_archive(target, source("https://x/y"))
    assert target.exists()


def test_a_damaged_record_is_named(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    record_path(target).write_text("{")
    with pytest.raises(ValueError, match=r"maze\.zip\.lock\.json: damaged .*delete it to record them anew"):
        check_archive(target, source())


def test_a_disk_without_room_is_named_before_anything_is_written(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(
        OSError, match=r"the disk is full \(found 0\.00 GB free, .* go.*free disk space.*maze\.zip"
    ) as caught:
        download(source(f"{server.address}file.zip"), target)
    assert caught.value.errno == errno.ENOSPC


def drive_gives(monkeypatch: pytest.MonkeyPatch, content: bytes | Exception) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def give(**arguments: Any) -> str:
        calls.append(arguments)
        if isinstance(content, Exception):
            raise content
        Path(arguments["output"]).write_bytes(content)
        return str(arguments["output"])

    monkeypatch.setattr(gdown, "download", give)
    return calls


def test_google_drive_is_read_through_gdown_and_resumed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = drive_gives(monkeypatch, CONTENT)
    download(source(DRIVE), target)
    assert target.read_bytes() == CONTENT
    assert calls[0]["url"] == DRIVE and calls[0]["resume"] is True


def test_what_gdown_writes_for_its_owner_alone_gets_the_mode_that_the_umask_says(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(output: str, **_: Any) -> None:
        Path(output).write_bytes(CONTENT)
        Path(output).chmod(0o600)

    monkeypatch.setattr(gdown, "download", give)
    before = os.umask(0o022)
    try:
        download(source(DRIVE), target)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in target.parent.iterdir() if file.is_file()} == {0o644}


@pytest.mark.parametrize(
    "answer",
    [
        gdown.exceptions.FileURLRetrievalError("Too many users have viewed or\n downloaded this file recently."),
        gdown.exceptions.FileURLRetrievalError(
            "Cannot retrieve the public link. You may need to ..., or have had many accesses."
        ),
        QUOTA_PAGE,
    ],
    ids=["gdown's error", "gdown's guess", "a page"],
)
def test_a_used_up_quota_is_explained_with_the_way_by_hand(
    target: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception
) -> None:
    drive_gives(monkeypatch, answer)
    with pytest.raises(
        ValueError, match=rf"Google Drive's quota is used up.*\nBy hand: open .*save the file as {target}"
    ):
        download(source(DRIVE), target)
    assert list(target.parent.iterdir()) == []


def test_a_drive_that_cannot_be_reached_falls_back_on_the_next_address(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive_gives(monkeypatch, gdown.exceptions.DownloadError("no route"))
    download(source(DRIVE, f"{server.address}file.zip"), target)
    assert target.read_bytes() == CONTENT


def test_a_disk_that_fills_up_in_gdown_stops_the_download(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive_gives(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match=r"the disk is full .*run again"):
        download(source(DRIVE, "https://never.asked/x.zip"), target)
