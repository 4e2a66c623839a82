"""Every way a store can be damaged is found when it is opened or read, and listed by the validator."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from conftest import ARM

from lamflow.data import group_reader
from lamflow.data.group_writer import GroupWriter, attributes_digest, sha256_of
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore, expected_arrays
from lamflow.data.validate import main, store_problems

SHARD = "observation/frames/c/0/0/0/0"
SOURCE = Path(__file__).parents[2] / "src"


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def edit_attributes(path: Path, *, sealed: bool = True, **changes: Any) -> None:
    """Change attributes; ``sealed``: as if they had been written so."""
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"].update(changes)
    if sealed:
        metadata["attributes"]["digest"] = attributes_digest(metadata["attributes"])
    (path / "zarr.json").write_text(json.dumps(metadata))


def rewrite(path: Path, **changes: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write the store anew, sealed, with some of its arrays changed."""
    store = EpisodeStore.open(path)
    arrays = store.load()
    with GroupWriter(path, [spec for spec, _ in expected_arrays(store.attributes)]) as writer:
        writer.attributes = {k: v for k, v in store.attributes.items() if k not in ("files", "digest", "complete")}
        for spec, _ in expected_arrays(store.attributes):
            part = spec.name.removeprefix("observation/")
            values = getattr(arrays, part) if part == spec.name else arrays.observations[part]
            writer.append(spec.name, changes[spec.name](values.copy()) if spec.name in changes else values)


def at(row: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[row] = value
        return values

    return change


@pytest.fixture(params=["zarr", "zarrs"])
def pipeline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both decoders must find the same damage."""
    if request.param == "zarr":
        monkeypatch.setattr(group_reader, "FAST_PIPELINE", "zarr.core.codec_pipeline.BatchedCodecPipeline")
    else:
        pytest.importorskip("zarrs")
    return str(request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("pipeline")
def test_a_flipped_bit_anywhere_in_a_shard_is_found(tmp_path: Path, store_path: Path) -> None:
    size = (store_path / SHARD).stat().st_size
    for position in np.linspace(0, size - 1, 25).astype(int):
        damaged = tmp_path / "damaged.zarr"
        shutil.copytree(store_path, damaged)
        flip(damaged / SHARD, int(position))
        with pytest.raises(ValueError, match=rf"damaged\.zarr: damaged: {SHARD}: its contents"):
            EpisodeStore.open(damaged).load()
        assert len(store_problems(damaged)) == 1
        shutil.rmtree(damaged)


@pytest.mark.usefixtures("pipeline")
def test_a_sound_store_reads_the_same_with_either_decoder(store_path: Path) -> None:
    arrays = EpisodeStore.open(store_path).load()
    assert arrays.episode_starts.tolist() == [0, 4, 6]
    assert arrays.rewards.sum() == 3


def test_a_truncated_shard_is_found_on_opening(store_path: Path) -> None:
    size = (store_path / SHARD).stat().st_size
    os.truncate(store_path / SHARD, size - 1)
    with pytest.raises(
        ValueError, match=rf"damaged: {SHARD}: found {size - 1} bytes, expected {size}: delete it and run"
    ):
        EpisodeStore.open(store_path)


def test_a_missing_shard_is_found_on_opening(store_path: Path) -> None:
    (store_path / SHARD).unlink()
    with pytest.raises(ValueError, match=rf"damaged: {SHARD}: missing, expected \d+ bytes"):
        EpisodeStore.open(store_path)


def test_a_missing_array_is_found_on_opening(store_path: Path) -> None:
    shutil.rmtree(store_path / "rewards")
    with pytest.raises(ValueError, match=r"damaged: rewards/c/0: missing.* and 1 more problem"):
        EpisodeStore.open(store_path)


def test_changed_array_metadata_is_found_on_opening(store_path: Path) -> None:
    file = store_path / "rewards" / "zarr.json"
    file.write_text(file.read_text().replace("float32", "float16"))
    with pytest.raises(ValueError, match=r"rewards/zarr\.json: its contents changed"):
        EpisodeStore.open(store_path)


def test_edited_attributes_are_found_on_opening(store_path: Path) -> None:
    edit_attributes(store_path, sealed=False, num_rows=11)
    with pytest.raises(ValueError, match=r"zarr\.json: its attributes do not match their digest"):
        EpisodeStore.open(store_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"attributes": 3}', "[" * 100_000])
def test_broken_metadata_is_found_on_opening(store_path: Path, content: str) -> None:
    (store_path / "zarr.json").write_text(content)
    with pytest.raises(ValueError, match=r"train\.zarr/zarr\.json: damaged"):
        EpisodeStore.open(store_path)


def test_changed_metadata_of_the_group_is_found_on_opening(store_path: Path) -> None:
    file = store_path / "zarr.json"
    file.write_text(file.read_text().replace('"group"', '"grouq"'))
    with pytest.raises(ValueError, match=r"train\.zarr/zarr\.json: damaged \(ValueError: found .*'grouq'"):
        EpisodeStore.open(store_path)
    assert re.search("grouq", store_problems(store_path)[0])


def test_files_that_stand_in_each_others_place_are_found_where_parts_are_read(store_path: Path) -> None:
    starts, seeds = (store_path / name / "c/0" for name in ("episode_starts", "level_seeds"))
    assert starts.stat().st_size == seeds.stat().st_size
    content = starts.read_bytes()
    starts.write_bytes(seeds.read_bytes())
    seeds.write_bytes(content)
    store = EpisodeStore.open(store_path)
    with pytest.raises(ValueError, match=r"damaged: level_seeds/c/0: its contents changed"):
        store.rows("level_seeds")


def test_another_environment_is_refused(store_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"train\.zarr: found environment 'xland-doorkey-5x5', expected 'xland-fourrooms': give the store",
    ):
        EpisodeStore.open(store_path, env="xland-fourrooms")


def test_another_format_version_is_refused(store_path: Path) -> None:
    edit_attributes(store_path, format_version=3)
    with pytest.raises(ValueError, match=r"train\.zarr: found format_version 3, expected 2: .*version of lamflow"):
        EpisodeStore.open(store_path)


def test_a_store_of_the_first_format_is_refused_with_the_command_that_makes_it_anew(
    store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = json.loads((store_path / "zarr.json").read_text())
    del metadata["attributes"]["environment"]
    (store_path / "zarr.json").write_text(json.dumps(metadata))
    edit_attributes(store_path, format_version=1, num_actions=6)
    message = (
        rf"{store_path}: found a store of format 1, which earlier versions of lamflow wrote, expected format 2: make it anew, "
        rf"`snakemake --cores all {store_path}` \(where the experiment has a configuration of its own, with --configfile FILE"
    )
    with pytest.raises(ValueError, match=message):
        EpisodeStore.open(store_path)
    (problem,) = store_problems(store_path)
    assert re.match(message, problem)
    assert main([str(store_path)]) == 1
    assert "1 problem(s)" in (printed := capsys.readouterr().out) and re.search(message, printed)


def test_a_damaged_file_of_the_group_of_observations_is_found(store_path: Path) -> None:
    """It belongs to none of the arrays."""
    flip(store_path / "observation/zarr.json", 5)
    message = "observation/zarr.json: its contents changed since it was written (its sha256 differs)"
    with pytest.raises(ValueError, match=re.escape(f"damaged: {message}")):
        EpisodeStore.open(store_path)
    assert store_problems(store_path) == [message]


def test_a_place_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.zarr: found nothing, expected a store"):
        EpisodeStore.open(tmp_path / "none.zarr")
    with pytest.raises(ValueError, match=r"found no zarr\.json, expected a store"):
        EpisodeStore.open(tmp_path)


def test_wrong_dtype_and_shape_are_refused(store_path: Path) -> None:
    rewrite(store_path, level_seeds=lambda values: values[:2])
    with pytest.raises(ValueError, match=r"array 'level_seeds' is int64 \[2\], expected int64 \[3\]"):
        EpisodeStore.open(store_path)
    assert re.search(r"'level_seeds' is int64 \[2\]", store_problems(store_path)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"episode_starts": at(1, 0)},
            r"episode_starts: episode 0 starts at row 0 and has 0 rows, expected starts that",
        ),
        ({"episode_starts": at(0, 1)}, r"episode_starts: episode 0 starts at row 1"),
        ({"episode_starts": at(2, 11)}, r"episode_starts: episode 2 starts at row 11 and has 1 rows"),
        ({"terminated": at(1, True)}, r"terminated: row 1: found True, expected it on the last action"),
        ({"truncated": at(slice(None), True)}, r"truncated: row 0 and 8 more"),
        ({"actions": at(0, 6)}, r"actions: row 0: found 6, expected 0 to 5"),
        ({"actions": at(0, -1)}, r"actions: row 0: found -1, expected 0 to 5"),
        ({"actions": at(3, 0)}, r"actions: row 3: found 0, expected -1 on final observations"),
        ({"acted": at(0, False)}, r"acted: row 0: expected False on final observations and nowhere else"),
        ({"acted": at(3, True)}, r"acted: row 3: expected False on final observations and nowhere else"),
        ({"acted": at(slice(None), False)}, r"acted: row 0 and 8 more: expected False"),
        ({"rewards": at(3, 1)}, r"rewards: row 3: found 1.0, expected finite, and 0 on final observations"),
        ({"rewards": at(0, np.inf)}, r"rewards: row 0: found inf"),
        ({"observation/frames": at(7, 13)}, r"observation/frames: row 7: found a category beyond the \[13, 12\]"),
        (
            {"observation/proprioception": at(7, 12)},
            r"observation/proprioception: row 7: found a category beyond the \[4, 13, 12\]",
        ),
    ],
)
def test_the_validator_finds_wrong_contents(store_path: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(store_path, **changes)
    problems = store_problems(store_path)
    assert len(problems) == 1
    assert re.search(message, problems[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": at((0, 1), 0.75)}, r"actions: row 0: found \[.* 0\.75 *\], expected \[-1, 0\] to \[1, 0\.5\]"),
        ({"actions": at((4, 0), np.nan)}, r"actions: row 4: found \[ *nan .*\], expected \[-1, 0\] to \[1, 0\.5\]"),
        ({"actions": at((11, 0), 0.25)}, r"actions: row 11: found \[0\.25 0\. +\], expected 0 on final observations"),
        ({"acted": at(2, False)}, r"acted: row 2: expected False on final observations and nowhere else"),
        ({"acted": at(11, True)}, r"acted: row 11: expected False on final observations and nowhere else"),
        ({"observation/pose": at((7, 1), np.nan)}, r"observation/pose: row 7: found NaN or infinity, expected finite"),
        ({"observation/pose": at((5, 0), -np.inf)}, r"observation/pose: row 5: found NaN or infinity"),
    ],
)
def test_the_validator_finds_wrong_numbers(
    tmp_path: Path, write_episodes: Callable[..., object], changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "arm.zarr"
    write_episodes(path, env=ARM)
    assert store_problems(path) == []
    rewrite(path, **changes)
    (problem,) = store_problems(path)
    assert re.match(message, problem)


@pytest.mark.slow
def test_the_validator_as_a_program_names_damaged_numbers(
    tmp_path: Path, write_episodes: Callable[..., object]
) -> None:
    path = tmp_path / "arm.zarr"
    write_episodes(path, env=ARM)

    def validated() -> tuple[int, str]:
        command = [sys.executable, "-m", "lamflow.data.validate", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert result.stderr == ""
        return result.returncode, result.stdout

    assert validated() == (0, f"{path}: ok: 3 episodes, 12 rows, arm train, mean return 1.000\n")
    rewrite(path, **{"observation/pose": at(7, np.nan), "acted": at(3, True)})
    flip(path / "actions/c/0/0", 5)
    status, printed = validated()
    assert status == 1
    for expected in (
        "3 problem(s)",
        "actions/c/0/0: its contents changed",
        "observation/pose: row 7: found NaN or infinity",
        "acted: row 3: expected False on final observations",
    ):
        assert expected in printed


def test_the_validator_lists_every_problem(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(store_path / "rewards")
    flip(store_path / SHARD, 5)
    os.truncate(store_path / "actions/c/0", 3)
    (store_path / "notes.txt").write_text("mine")
    edit_attributes(store_path, sealed=False, source="elsewhere")
    assert main([str(store_path)]) == 1
    printed = capsys.readouterr().out
    for expected in (
        "6 problem(s)",
        "rewards/c/0: missing",
        "rewards/zarr.json: missing",
        f"{SHARD}: its contents changed",
        "actions/c/0: found 3 bytes",
        "notes.txt: found a file that was not written with the store",
        "its attributes do not match their digest",
    ):
        assert expected in printed


@pytest.mark.parametrize(
    "changes",
    [
        {"num_rows": "many"},
        {"files": None},
        {"files": {"a": 1}},
        {"env": "mars"},
        {"environment": "mars"},
        {"environment": None},
        {"environment": {}},
        {"num_episodes": -1},
    ],
)
def test_the_validator_survives_nonsense_in_the_attributes(store_path: Path, changes: dict[str, Any]) -> None:
    edit_attributes(store_path, **changes)
    assert store_problems(store_path)
    with pytest.raises(ValueError, match=r"train\.zarr"):
        EpisodeStore.open(store_path)


def test_the_validator_finds_an_array_that_was_never_written(store_path: Path) -> None:
    shutil.rmtree(store_path / "rewards")
    listed = json.loads((store_path / "zarr.json").read_text())["attributes"]["files"]
    edit_attributes(
        store_path, files={name: value for name, value in listed.items() if not name.startswith("rewards/")}
    )
    message = r"array 'rewards' is missing, expected float32 \[12\]"
    assert re.search(message, store_problems(store_path)[0])
    with pytest.raises(ValueError, match=message):
        EpisodeStore.open(store_path)


def unlist(path: Path, names: list[str]) -> None:
    """As if the writer had never written these files."""
    listed = json.loads((path / "zarr.json").read_text())["attributes"]["files"]
    for name in names:
        (path / name).unlink()
    edit_attributes(path, files={name: value for name, value in listed.items() if name not in names})


@pytest.mark.parametrize(
    ("kind", "shard"), [("episodes", SHARD), ("episodes", "actions/c/0"), ("latents", "codes/c/0/0")]
)
def test_rows_that_were_promised_and_never_written_are_named_and_not_read_as_zeros(
    kind: str, shard: str, store_path: Path, latent_path: Path
) -> None:
    path, kind_of_store = (store_path, EpisodeStore) if kind == "episodes" else (latent_path, LatentStore)
    unlist(path, [shard])
    message = rf"{shard}: not among the files that were written, expected a part of 12 rows"
    with pytest.raises(ValueError, match=rf"{path.name}: damaged: {message}"):
        kind_of_store.open(path)
    assert any(re.search(message, problem) for problem in store_problems(path))


def test_a_chunk_that_was_never_written_is_named_before_its_rows_are_read(store_path: Path) -> None:
    reader = EpisodeStore.open(store_path).rows("observation/frames")
    file = store_path / SHARD
    content = bytearray(file.read_bytes())
    index = slice(-(reader.shard_rows // reader.chunk_rows * 16 + 4), -4)
    content[index.start : index.start + 16] = b"\xff" * 16
    content[-4:] = int(google_crc32c.value(bytes(content[index]))).to_bytes(4, "little")
    file.write_bytes(content)
    listed = json.loads((store_path / "zarr.json").read_text())["attributes"]["files"]
    edit_attributes(store_path, files=listed | {SHARD: [len(content), sha256_of(file)]})
    store, message = EpisodeStore.open(store_path), f"{SHARD}: chunk 0 was never written"
    for read in (store.load, lambda: store.rows("observation/frames"), lambda: store.array("observation/frames")):
        with pytest.raises(ValueError, match=rf"train\.zarr: damaged: {message}"):
            read()
    assert store_problems(store_path) == [message]


def test_the_validator_passes_sound_stores(
    store_path: Path, latent_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(store_path)]) == 0
    assert "ok: 3 episodes, 12 rows, xland-doorkey-5x5 train, mean return 1.000" in capsys.readouterr().out
    assert main([str(latent_path), "--episodes", str(store_path)]) == 0
    assert "ok: 12 rows of 4 latents and 2 codes" in capsys.readouterr().out


def test_the_validator_passes_stores_without_final_observations(
    tmp_path: Path, write_episodes: Callable[..., object]
) -> None:
    write_episodes(tmp_path / "a.zarr", (3, 1, 4), "xland-r1-9x9-full", final=False)
    assert store_problems(tmp_path / "a.zarr") == []


def test_the_validator_checks_latent_stores(
    tmp_path: Path, latent_path: Path, write_episodes: Callable[..., object]
) -> None:
    write_episodes(tmp_path / "other.zarr", seed=1)
    assert (
        "found latents of other episodes" in store_problems(latent_path, EpisodeStore.open(tmp_path / "other.zarr"))[0]
    )
    edit_attributes(latent_path, codebook_size=3)
    assert re.search(r"codes: row \d+ and \d+ more: found \[.*\], expected 0 to 2", store_problems(latent_path)[0])
    flip(latent_path / "latents/c/0/0", 5)
    assert store_problems(latent_path)[0].startswith("latents/c/0/0: its contents changed")
    with pytest.raises(ValueError, match=r"latents\.zarr: damaged: latents/c/0/0: its contents"):
        LatentStore.open(latent_path).load()


def test_the_validator_is_a_program(store_path: Path) -> None:
    (store_path / SHARD).unlink()
    command = [sys.executable, "-m", "lamflow.data.validate", str(store_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False
    )
    assert result.returncode == 1
    assert f"{SHARD}: missing" in result.stdout
    assert result.stderr == ""


WRITE = """
import sys, numpy as np
from lamflow.envs.presets import preset
from lamflow.data.store import EpisodeWriter
from lamflow.envs.interface import Episode
spec = preset("xland-doorkey-5x5")
L = 2000
g = np.random.default_rng(0)
episode = Episode({"frames": g.integers(0, 12, (L + 1, 5, 5, 2)).astype(np.uint8), "proprioception": np.zeros((L + 1, 3), np.uint8)},
                  np.zeros(L, np.int64), np.zeros(L, np.float32), True, False, 0)
with EpisodeWriter(sys.argv[1], spec=spec, split="train", attributes={"source": "x", "licence": "x"}) as writer:
    while True:
        writer.append(episode)
        if writer.num_rows > int(sys.argv[2]):
            break
    print("written", flush=True)
    if len(sys.argv) > 3:
        sys.stdin.read()
"""


def test_a_killed_writer_leaves_nothing_that_opens(tmp_path: Path, write_episodes: Callable[..., object]) -> None:
    path = tmp_path / "train.zarr"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", WRITE, str(path), "1100000", "wait"]  # past the first shard of the small arrays
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert any(left[0].rglob("c/*"))
    with pytest.raises(ValueError, match=r"train\.zarr: found nothing \(half-written: .*\.partial, it is not used\)"):
        EpisodeStore.open(path)
    with pytest.raises(ValueError, match="half-written, its writer never finished"):
        EpisodeStore.open(left[0])
    assert "half-written" in store_problems(left[0])[0]
    write_episodes(path)  # the next run works, and cleans up after the killed one
    assert store_problems(path) == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "train.zarr"
    # A limit on the size of a file stops the writing as a full disk does, with an OSError.
    result = subprocess.run(
        [sys.executable, "-c", WRITE, str(path), "1100000"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
        check=False,
    )
    assert result.returncode != 0
    message = r"OSError: .*writing stopped after \d+ rows \(File too large\); .*free disk space.*train\.zarr"
    assert re.search(message, result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_opening_and_loading_forty_thousand_rows_is_fast(tmp_path: Path, write_episodes: Callable[..., object]) -> None:
    path = tmp_path / "train.zarr"
    write_episodes(path, [20] * 2000)
    EpisodeStore.open(path).load()  # imports
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert EpisodeStore.open(path).load().num_rows == 42_000
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3
    num_arrays = len(expected_arrays(EpisodeStore.open(path).attributes))
    assert len([file for file in path.rglob("*") if file.is_file()]) == 2 * num_arrays + 2
