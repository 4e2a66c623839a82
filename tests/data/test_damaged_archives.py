"""What is skipped of an archive is said or refused, what is opened is bounded, and damage is named by archive and member."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_archives import (
    as_npy,
    chunk,
    dgrl_files,
    import_tar,
    import_zip,
    lapo_files,
    packed,
    tar_of,
    write_zip,
)

FIRST = "leaper/train/0.npz"


def zip_with(tmp_path: Path, **changes: bytes) -> Path:
    """An archive with other files, or others of its own in another form."""
    return write_zip(tmp_path / "leaper.zip", lapo_files() | changes)


def refused(archive: Path, message: str) -> None:
    """Its import is refused, and leaves no store."""
    with pytest.raises(ValueError, match=rf"^{archive}: {message}"):
        import_zip(archive) if archive.suffix == ".zip" else import_tar(archive)
    assert not any("zarr" in file.name for file in archive.parent.iterdir())


def test_a_chunk_whose_name_was_damaged_is_not_left_out(tmp_path: Path) -> None:
    archive = zip_with(tmp_path)
    content = archive.read_bytes()
    for name, damaged, message in (
        (b"train/1.npz", b"tsain/1.npz", "found 'leaper/tsain/1.npz', expected chunks"),
        (b"train/1.npz", b"train/1.npr", "found 'leaper/train/1.npr', expected chunks"),
        (b"train/1.npz", b"train/3.npz", r"found train/0\.npz and then train/2\.npz, expected numbers without a gap"),
        (b"train/1.npz", b"train/0.npz", r"found leaper/train/0\.npz and leaper/train/0\.npz, expected one chunk of"),
    ):
        archive.write_bytes(content.replace(name, damaged))
        refused(archive, message)


def test_files_that_are_no_chunks_are_refused_and_those_that_systems_add_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_zip(tmp_path / "leaper.zip", lapo_files() | {"leaper/notes.txt": b"mine"})
    refused(archive, "found 'leaper/notes.txt', expected chunks")
    added = {"leaper/": b"", "leaper/.DS_Store": b"x", "__MACOSX/leaper/train/._0.npz": b"x"}
    write_zip(archive, lapo_files() | added)
    assert import_zip(archive).num_rows == 12
    assert "leaper.zip: 2 hidden file(s) left out" in capsys.readouterr().out


@pytest.mark.parametrize(("compression", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")])
def test_other_packings_are_refused_by_name(tmp_path: Path, compression: int, name: str) -> None:
    files = lapo_files()
    refused(
        write_zip(tmp_path / "leaper.zip", files, compression=compression),
        rf"{FIRST}: it is packed by {name} \({compression}\), expected deflate",
    )
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", compression) as npz, zipfile.ZipFile(io.BytesIO(files[FIRST])) as good:
        for key in good.namelist():
            npz.writestr(key, good.read(key))
    refused(zip_with(tmp_path, **{FIRST: inside.getvalue()}), rf"{FIRST}: ta: damaged .* it is packed by {name}")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = zip_with(tmp_path)
    content = bytearray(archive.read_bytes())
    content[content.rindex(FIRST.encode()) - 46 + 8] |= 1  # the flags in the central directory
    archive.write_bytes(content)
    refused(archive, f"{FIRST}: it is encrypted, expected a member without a password")


def npz_with(key: str, content: bytes) -> bytes:
    """A chunk's npz with other bytes in place of one array's."""
    inside = io.BytesIO()
    good = zipfile.ZipFile(io.BytesIO(packed(chunk(0))))
    with good, zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED) as npz:
        for name in good.namelist():
            npz.writestr(name, content if name == f"{key}.npy" else good.read(name))
    return inside.getvalue()


def npy_of(header: bytes, version: int = 1, length: int | None = None) -> bytes:
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + bytes(200),
        npy_of(b"{'descr': '<i8', 'fortran_order': False, 'shape': (6"),
        npy_of(b"{'descr': '<i8', 'fortran_order': False, 'shape': (6,)} '''"),
        npy_of(b"{'descr': ['<i8'], 'fortran_order': False, 'shape': (6,)}"),
        npy_of(b"(" * 9000),
        npy_of(b"\xff" * 50, version=2),
        npy_of(b"{", version=2, length=2**32 - 1),
        npy_of(b"{'descr': '<i8', 'fortran_order': False, 'shape': (6,)}") + bytes(47),
        npy_of(b"{'descr': '<i8', 'fortran_order': False, 'shape': (6,)}") + bytes(49),
    ],
)
def test_an_array_with_a_bad_header_or_another_length_is_named(tmp_path: Path, content: bytes) -> None:
    refused(zip_with(tmp_path, **{FIRST: npz_with("ta", content)}), rf"{FIRST}: ta: damaged or cut off \(EOFError: ")


def test_cut_out_and_foreign_bytes_are_named(tmp_path: Path) -> None:
    archive = zip_with(tmp_path)
    whole = archive.read_bytes()
    for start, stop in ((0, 1), (100, 2000), (len(whole) - 300, len(whole) - 100), (len(whole) - 30, len(whole) - 20)):
        archive.write_bytes(whole[:start] + whole[stop:])
        if start:
            refused(archive, "")
    npz = packed(chunk(0))
    for content in (npz[:200] + npz[300:], npz[50:], npz[:-30] + npz[-25:], b"PK\x05\x06" + bytes(18), b"no zip"):
        refused(zip_with(tmp_path, **{FIRST: content}), FIRST)


def test_rewards_that_no_float32_can_hold_are_refused(tmp_path: Path) -> None:
    arrays = chunk(0) | {"rewards": np.full(6, 1e300)}
    refused(zip_with(tmp_path, **{FIRST: packed(arrays)}), rf"{FIRST}: rewards: found values from 1e\+300 to")


LARGE = 128 << 20


def zeros_zip(path: Path, name: str, start: bytes) -> bytes:
    """A zip whose member ``name`` has LARGE zeros behind ``start``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed_zeros:
        with packed_zeros.open(name, "w", force_zip64=True) as member:
            member.write(start)
            member.write(bytes(LARGE))
        for other in ("obs", "done", "rewards"):
            packed_zeros.writestr(f"{other}.npy", b"")
    return path.read_bytes()


def bomb_in_an_array(tmp_path: Path) -> Path:
    header = npy_of(b"{'descr': '<i8', 'fortran_order': False, 'shape': (6,)}")
    return zip_with(tmp_path, **{FIRST: zeros_zip(tmp_path / "inside", "ta.npy", header)})


def bomb_in_a_header(tmp_path: Path) -> Path:
    header = npy_of(b"", version=2, length=LARGE)
    return zip_with(tmp_path, **{FIRST: zeros_zip(tmp_path / "inside", "ta.npy", header)})


def bomb_of_a_chunk(tmp_path: Path) -> Path:
    path = write_zip(tmp_path / "leaper.zip", {n: c for n, c in lapo_files().items() if n != FIRST})
    archive = zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open(FIRST, "w", force_zip64=True) as member:
        member.write(bytes(LARGE))
    return path


def bomb_in_a_pax_header(tmp_path: Path) -> Path:
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, LARGE
    with lzma.open(tmp_path / "leaper.tar.xz", "w", preset=0) as stream:
        stream.write(member.tobuf(tarfile.USTAR_FORMAT))
        stream.write(bytes(LARGE))
    return tmp_path / "leaper.tar.xz"


def bomb_of_an_episode(tmp_path: Path) -> Path:
    header = npy_of(b"{'descr': '|u1', 'fortran_order': False, 'shape': (134217728,)}")
    inside = zeros_zip(tmp_path / "inside", "actions.npy", header)
    content = tar_of({"leaper/20220101T000000_0_3_3_0.00.npz": inside})
    (tmp_path / "leaper.tar.xz").write_bytes(lzma.compress(content, preset=0))
    return tmp_path / "leaper.tar.xz"


def bomb_in_a_pickle(tmp_path: Path) -> Path:
    header = as_npy({})
    content = header[: header.index(b"\n") + 1] + b"\x80\x04}r\xff\xff\xff\x0f."
    (tmp_path / "leaper.tar.xz").write_bytes(
        lzma.compress(tar_of({"leaper/20220101T000000_0_3_3_0.00.npy": content}), preset=0)
    )
    return tmp_path / "leaper.tar.xz"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (bomb_in_an_array, "ta: damaged or cut off (EOFError: found data behind its end)"),
        (bomb_in_a_header, "ta: damaged or cut off (EOFError: no npy array: a header of 134217728 bytes"),
        (bomb_of_a_chunk, f"{FIRST}: found 134217728 bytes, expected at most"),
        (bomb_in_a_pax_header, "headers of more than 1048576 bytes"),
        (bomb_of_an_episode, "has 134217728 bytes, expected at most"),
        (bomb_in_a_pickle, "it wants room for 268435455 objects"),
    ],
)
def test_small_archives_of_large_content_are_refused_before_it_is_in_memory(
    tmp_path: Path, bomb: Callable[[Path], Path], message: str
) -> None:
    archive = bomb(tmp_path)
    refused(archive, "")  # and imports what importing needs
    tracemalloc.start()
    refused(archive, f".*{re.escape(message)}")
    assert tracemalloc.get_traced_memory()[1] < LARGE // 4
    tracemalloc.stop()


def tar_with(tmp_path: Path, content: bytes) -> Path:
    archive = tmp_path / "leaper.tar.xz"
    archive.write_bytes(lzma.compress(content, preset=0))
    return archive


@pytest.mark.parametrize(
    "name",
    [
        "20220101T000000_9_0_171_0.00.npy",
        "20220101T000000_9_3_171_1.2.3.npy",
        "20220101T000000_9_3_171_..npy",
        f"20220101T000000_9_{'3' * 30}_171_0.00.npy",
        f"20220101T000000_9_3_{'1' * 30}_0.00.npy",
    ],
)
def test_names_that_tell_no_length_level_or_return_are_refused(tmp_path: Path, name: str) -> None:
    files = dgrl_files() | {f"leaper/{name}": as_npy({})}
    refused(tar_with(tmp_path, tar_of(files)), rf"leaper/{name}: expected a name <timestamp>_<index>_<length>")


@pytest.mark.parametrize("second", ["leaper/", "other/"])
def test_an_episode_that_is_there_twice_is_refused(tmp_path: Path, second: str) -> None:
    files = dgrl_files()
    name = next(iter(files))
    twice = tar_of(files, (name.replace("leaper/", second), files[name]))
    refused(tar_with(tmp_path, twice), f"{second}.*: found this episode twice, expected each once")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"Z"], ids=lambda kind: kind.decode()
)
def test_members_that_are_neither_files_nor_folders_are_refused(tmp_path: Path, kind: bytes) -> None:
    name = "leaper/20220101T000000_9_3_171_0.00.npy"
    content = tar_of({name: b""}, type=kind)[:512] + tar_of(dgrl_files())
    refused(tar_with(tmp_path, content), rf"{name}: found a member of tar type .*{kind.decode()}.*, expected files and")


def test_hidden_files_and_episodes_of_no_split_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"leaper/20220101T000000_9_3_999_0.00.npy": b"not even read"}
    files = dgrl_files() | {"leaper/._x.npy": b"x", ".DS_Store": b"y"} | other
    assert import_tar(tar_with(tmp_path, tar_of(files)))["train"].num_episodes == 1
    printed = capsys.readouterr().out
    assert "leaper.tar.xz: 2 hidden file(s) left out" in printed
    assert "leaper.tar.xz: 1 episode(s) on levels of no split left out" in printed


def test_a_pax_header_of_nonsense_is_named(tmp_path: Path) -> None:
    for record in (b"9" * 300 + b" path=x\n", b"9" * 5000 + b" path=x\n", b"0 path=x\n"):
        member = tarfile.TarInfo("pax")
        member.type, member.size = tarfile.XHDTYPE, len(record)
        header = member.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-len(record) % 512)
        refused(tar_with(tmp_path, header + tar_of(dgrl_files())), r"damaged or cut off \(")


def test_what_stands_behind_a_damaged_header_is_not_left_out(tmp_path: Path) -> None:
    files = dgrl_files()
    whole = tar_of(files, tar_format=tarfile.USTAR_FORMAT)
    for name in list(files)[1:]:
        start = whole.index(name.encode())
        damaged = whole[:start] + b"X" + whole[start + 1 :]
        refused(tar_with(tmp_path, damaged), r"damaged or cut off \(ReadError: found what is no header behind byte")
        refused(tar_with(tmp_path, whole[:start]), r"damaged or cut off \(ReadError: it has no end")
    refused(tar_with(tmp_path, whole + whole), r"damaged or cut off \(ReadError: found what is no header behind")


def test_actions_that_the_game_does_not_have_are_named(tmp_path: Path) -> None:
    files = dgrl_files()
    name = next(iter(files))
    arrays = np.load(io.BytesIO(files[name]), allow_pickle=True).item() | {"actions": np.array([0, 15, 2])}
    refused(
        tar_with(tmp_path, tar_of(files | {name: as_npy(arrays)})), rf"{name}: actions: found 0 to 15, expected 0 to 14"
    )
