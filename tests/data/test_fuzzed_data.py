"""Random damage to archives and stores: refused by name, or without effect; never another error, never other content."""

from __future__ import annotations

import lzma
import random
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_archives import dgrl_files, import_tar, import_zip, lapo_files, tar_of, write_zip

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore, array_of
from lamflow.data.validate import store_problems

Contents = dict[str, np.ndarray]


def mutated(content: bytes, chance: random.Random) -> bytes:
    """``content`` with a bit flipped, or bytes changed, cut out, cut off, doubled or exchanged; its ends are hit more often."""
    changed, size = bytearray(content), len(content)
    place = chance.choice(
        [chance.randrange(size), chance.randrange(min(size, 600)), size - 1 - chance.randrange(min(size, 600))]
    )
    end, other = place + chance.choice([1, 4, 16, 500]), chance.randrange(size)
    match chance.randrange(7):
        case 0 | 1:
            changed[place] ^= 1 << chance.randrange(8)
        case 2:
            changed[place:end] = chance.randbytes(len(changed[place:end]))
        case 3:
            del changed[place:end]
        case 4:
            del changed[place:]
        case 5:
            changed[place:place] = changed[place:end]
        case 6:
            part = changed[place:end]
            changed[place:end], changed[other : other + len(part)] = changed[other : other + len(part)], part
    return bytes(changed)


def contents(store: EpisodeStore | LatentStore) -> Contents:
    found = dict(vars(store.load()))
    if isinstance(store, EpisodeStore):
        parts = found.pop("observations")
        assert list(parts) == list(store.spec.observation)
        return found | {array_of(name): part for name, part in parts.items()}
    return found


def outcome(read: Callable[[], Contents], expected: Contents, *named: str) -> str:
    """``equal``, or ``refused`` where the message begins with the first of ``named`` and holds the others."""
    try:
        found = read()
    except ValueError as error:
        assert (
            type(error) is ValueError and str(error).startswith(named[0]) and all(name in str(error) for name in named)
        )
        return "refused"
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    return "equal"


@pytest.mark.slow
def test_damaged_zips_are_refused_or_give_the_same_store(tmp_path: Path) -> None:
    chance, files = random.Random(0), lapo_files()
    archive = write_zip(tmp_path / "leaper.zip", files, compression=zipfile.ZIP_DEFLATED)
    whole, expected = archive.read_bytes(), contents(import_zip(archive, train_chunks=1))
    read, outcomes = lambda: contents(import_zip(archive, train_chunks=1)), Counter()
    for _ in range(25):
        archive.write_bytes(mutated(whole, chance))
        outcomes[outcome(read, expected, str(archive))] += 1
    for _ in range(15):
        write_zip(archive, files | {"leaper/train/0.npz": mutated(files["leaper/train/0.npz"], chance)})
        outcomes[outcome(read, expected, str(archive), "leaper/train/0.npz")] += 1
    assert outcomes["refused"] > 20


@pytest.mark.slow
def test_damaged_tars_are_refused_or_give_the_same_stores(tmp_path: Path) -> None:
    chance, archive = random.Random(1), tmp_path / "leaper.tar.xz"
    whole = tar_of(dgrl_files())
    headers = [place for place in range(0, len(whole), 512) if whole[place + 257 : place + 262] == b"ustar"]

    def read() -> Contents:
        stores = import_tar(archive).items()
        return {f"{split}/{name}": values for split, store in stores for name, values in contents(store).items()}

    archive.write_bytes(packed := lzma.compress(whole, preset=0))
    expected, outcomes = read(), Counter()
    for _ in range(10):
        archive.write_bytes(mutated(packed, chance))
        outcomes[outcome(read, expected, str(archive))] += 1
    for _ in range(15):  # headers whose checksum is right
        changed, start = bytearray(whole), chance.choice(headers)
        changed[start + chance.choice([0, 10, 100, 124, 135, 156, 345])] ^= 1 << chance.randrange(8)
        header = changed[start : start + 512]
        changed[start + 148 : start + 156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
        archive.write_bytes(lzma.compress(changed, preset=0))
        outcomes[outcome(read, expected, str(archive))] += 1
    assert outcomes["refused"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["episodes", "latents"])
def test_damaged_stores_are_refused_whichever_file_is_hit(
    kind: str, store_path: Path, latent_path: Path, tmp_path: Path
) -> None:
    chance, damaged = random.Random(2), tmp_path / "damaged.zarr"
    path, opened = (store_path, EpisodeStore) if kind == "episodes" else (latent_path, LatentStore)
    expected, outcomes = contents(opened.open(path)), Counter()
    files = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    for number in range(40):
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(path, damaged)
        file, other = damaged / files[number % len(files)], damaged / chance.choice(files)
        before = file.read_bytes()
        if number % 4 == 0:
            file.unlink()
        elif number % 4 == 1:
            file.write_bytes(other.read_bytes())
            other.write_bytes(before)
        else:
            file.write_bytes(mutated(before, chance))
        found = outcome(lambda: contents(opened.open(damaged)), expected, str(damaged))
        assert found == "equal" or store_problems(damaged)
        outcomes[found] += 1
    assert outcomes["refused"] > 30
