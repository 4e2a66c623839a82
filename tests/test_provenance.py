"""Digests of code and data, atomic files, and the JSON neighbour of an artefact."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lamflow import code_digests, provenance
from lamflow.atomic_files import atomic_path, write_text
from lamflow.checkout import this_checkout
from lamflow.code_digests import Code, code_digest
from lamflow.provenance import file_digest, note_sources, record_provenance, settings_digest
from lamflow.training.precision import Precision

STAGE = '''"""A stage."""

from lamflow.settings import Settings
from lamflow.room.middle import double


def stage(x: int) -> int:
    """Doubles."""
    return double(x)  # with help
'''
SETTINGS = """from lamflow.settings import Settings
from lamflow.room.chosen_settings import ChosenSettings
from lamflow.room.default_settings import DefaultSettings

FACTOR = 2
BASE = 5
OFFSET, SCALE = BASE - 5, 1
POWER: int = 1
WORDS = 'wide'
if SCALE > 1:
    raise AssertionError


class Table:
    rows: int = 7


class LeafSettings(Settings):
    width: int = 3
    text: str = WORDS
    chosen: ChosenSettings = Field(default_factory=DefaultSettings)

    def area(self):
        return (self.width * FACTOR) ** POWER + OFFSET
"""
CHOSEN = """from lamflow.settings import Settings

class ChosenSettings(Settings):
    def size(self):
        return 1
"""
DEFAULT = """from lamflow.room.chosen_settings import ChosenSettings

class DefaultSettings(ChosenSettings):
    def size(self):
        return 2
"""
MIDDLE = """def double(x):
    from lamflow.room import leaf
    from lamflow.room.leaf_settings import LeafSettings

    return leaf.TWO * x
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the place of lamflow: stages.stage imports room.middle, which imports room.leaf in a function."""
    root = tmp_path / "lamflow"
    files = {
        "code_digests.py": "",
        "settings.py": "RERUNS_NOTHING = 'why'\nclass Settings: ...\n",
        "room/leaf_settings.py": SETTINGS,
        "stages/stage.py": STAGE,
        "room/middle.py": MIDDLE,
        "room/leaf.py": "TWO = 2\n",
        "room/other.py": "THREE = 3\n",
        "room/chosen_settings.py": CHOSEN,
        "room/default_settings.py": DEFAULT,
    }
    for name, text in files.items():
        root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(name).write_text(text)
    for folder in (root, root / "stages", root / "room"):
        folder.joinpath("__init__.py").write_text("")
    monkeypatch.setattr(code_digests, "__file__", str(root / "code_digests.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield root
    forget()


@pytest.fixture
def fresh_checkout() -> Iterator[None]:
    """Git is asked anew, and again afterwards."""
    this_checkout.cache_clear()
    yield
    this_checkout.cache_clear()


def forget() -> None:
    """A process reads each module once."""
    for cached in (code_digests.source_of, code_digests.parsed_module, code_digests.code_digest, code_digests.memory):
        cached.cache_clear()


def digest_after(root: Path, name: str, old: str, new: str) -> str:
    path = root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    forget()
    return code_digest("lamflow.stages.stage")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stages/stage.py", "# with help", "# another comment\n\n"),
        ("stages/stage.py", '"""Doubles."""', '"""Twice as much."""'),
        ("stages/stage.py", '"""A stage."""', ""),
        ("room/middle.py", "leaf.TWO * x", "(leaf.TWO\n        * x)"),
        ("room/leaf.py", "TWO = 2", '# why\nTWO = 2\n"""Documented."""'),
        ("room/other.py", "THREE = 3", "THREE = 4"),
        ("settings.py", "...", "x = 1"),
        ("room/leaf_settings.py", "width: int = 3", "width: float = 4\n    depth: int = 2"),
        ("room/leaf_settings.py", "WORDS = 'wide'", "WORDS = 'very wide'"),
        ("room/default_settings.py", "return 2", "return 3"),
    ],
    ids=[
        "comment",
        "docstring",
        "module docstring",
        "layout",
        "text behind a constant",
        "unused module",
        "what says so",
        "field",
        "description",
        "a component that is a default",
    ],
)
def test_what_changes_no_behaviour_of_the_stage_keeps_its_digest(package: Path, name: str, old: str, new: str) -> None:
    before = code_digest("lamflow.stages.stage")
    assert digest_after(package, name, old, new) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stages/stage.py", "double(x)", "double(x) + 1"),
        ("room/middle.py", "* x", "+ x"),
        ("room/leaf.py", "2", "2.0"),
        ("room/leaf_settings.py", "* FACTOR", "+ FACTOR"),
        ("room/leaf_settings.py", "FACTOR = 2", "FACTOR = 3"),
        ("room/leaf_settings.py", "POWER: int = 1", "POWER: int = 2"),
        ("room/leaf_settings.py", "BASE - 5", "BASE - 4"),
        ("room/leaf_settings.py", "BASE = 5", "BASE = 6"),
        ("room/leaf_settings.py", "SCALE > 1", "SCALE > 2"),
        ("room/leaf_settings.py", "rows: int = 7", "rows: int = 8"),
        ("room/chosen_settings.py", "return 1", "return 3"),
    ],
    ids=[
        "the stage",
        "a module that it imports",
        "a module imported in a function of that",
        "formula",
        "its constant",
        "a constant with a type",
        "one of two constants",
        "a constant behind a constant",
        "a condition",
        "a class that is no settings group",
        "the formula of a group that a field holds",
    ],
)
def test_a_code_edit_anywhere_below_the_stage_changes_its_digest(package: Path, name: str, old: str, new: str) -> None:
    before = code_digest("lamflow.stages.stage")
    assert digest_after(package, name, old, new) != before


def test_what_a_process_has_read_is_taken_over_by_the_next_one(package: Path, tmp_path: Path) -> None:
    first = code_digest("lamflow.stages.stage")
    code_digests.memory().save()
    (kept,) = tmp_path.glob("cache/lamflow/code/*.json")
    forget()
    assert code_digest("lamflow.stages.stage") == first
    facts = json.loads(kept.read_text())
    kept.write_text(json.dumps({key: ["0", *rest] for key, (_, *rest) in facts.items()}))
    forget()
    assert code_digest("lamflow.stages.stage") != first, "the control: what is kept is what is taken over"
    assert digest_after(package, "room/leaf.py", "2", "3") not in (first, None)


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', '{"a": [1, 2]}', "{"])
def test_a_damaged_memory_is_read_anew(package: Path, tmp_path: Path, text: str) -> None:
    first = code_digest("lamflow.stages.stage")
    code_digests.memory().save()
    (kept,) = tmp_path.glob("cache/lamflow/code/*.json")
    kept.write_text(text)
    forget()
    assert code_digest("lamflow.stages.stage") == first


def test_the_digest_of_a_missing_module_names_the_expected_file() -> None:
    with pytest.raises(
        ValueError, match=r"code digest of lamflow.stages.nothing: no such module; expected .*stages/nothing.py"
    ):
        code_digest("lamflow.stages.nothing")


def test_relative_imports_of_a_components_package_are_followed(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = tmp_path / "acme"
    acme.mkdir()
    for name, text in {
        "__init__": "",
        "impl": "from .helper import f\nfrom . import other\n",
        "helper": "f = 1\n",
        "other": "",
    }.items():
        acme.joinpath(f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    digests = set()
    for edited in ("", "helper", "other"):
        if edited:
            acme.joinpath(f"{edited}.py").write_text("f = 2\n")
        forget()
        digests.add(code_digest("lamflow.stages.stage", frozenset(), frozenset({"acme.impl"})))
    assert len(digests) == 3


def test_settings_digests_ignore_the_order_of_keys() -> None:
    assert settings_digest({"a": 1, "b": [2]}) == settings_digest({"b": [2], "a": 1})
    assert settings_digest({"a": 1}) != settings_digest({"a": 2})


def test_a_directorys_digest_depends_on_names_and_contents(tmp_path: Path) -> None:
    digests = set()
    for index, (name, text) in enumerate([("a", "x"), ("b", "x"), ("a", "y")]):
        folder = tmp_path / str(index)
        write_text(folder / name, text)
        digests.add(file_digest(folder))
    assert len(digests) == 3


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "old"


def test_provenance_says_how_an_artefact_came_to_be(tmp_path: Path) -> None:
    source, artefact = tmp_path / "in.csv", tmp_path / "model.safetensors"
    for path in (source, artefact):
        path.write_text("x")
    record_provenance(
        artefact,
        code=Code("lamflow.checkout"),
        settings={"steps": 3},
        inputs={"train": source},
        seed=1,
        wall_seconds=0.25,
        precision=[Precision("float32", "as set"), None, Precision("bf16", "as set"), Precision("bf16", "as set")],
    )
    record = json.loads((tmp_path / "model.json").read_text())
    assert (record["settings"], record["seed"], record["device"]) == ({"steps": 3}, 1, "cpu")
    assert record["precision"] == ["bf16 (as set)", "float32 (as set)"]
    assert record["inputs"]["train"] == {"path": str(source), "sha256": file_digest(source)}
    assert record["code_digest"] == code_digest("lamflow.checkout")
    assert record["packages"]["torch"].startswith("2.")


def record_of(folder: Path, inputs: dict[str, Path] | None = None) -> dict[str, Any]:
    """What the neighbour of an artefact in ``folder`` says."""
    artefact = folder / "model.safetensors"
    artefact.write_text("x", encoding="utf-8")
    record_provenance(
        artefact, code=Code("lamflow.envs.tiles"), settings={}, inputs=inputs or {}, seed=None, wall_seconds=1
    )
    record: dict[str, Any] = json.loads(artefact.with_suffix(".json").read_text(encoding="utf-8"))
    return record


def test_a_machine_without_git_leaves_the_commit_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_checkout: None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    record = record_of(tmp_path)
    assert (record["commit"], record["uncommitted"]) == (None, None)


def test_facts_that_cannot_be_had_are_left_open_and_the_artefact_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: the GPU is lost")

    monkeypatch.setattr(provenance, "RECORDED_PACKAGES", ("numpy", "a-package-that-is-not-there"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", fail)
    record = record_of(tmp_path, {"train": tmp_path / "gone.zarr"})
    assert list(record["packages"]) == ["numpy"]
    assert record["device"] == "cuda"
    assert record["inputs"] == {"train": {"path": str(tmp_path / "gone.zarr"), "sha256": None}}


def test_the_record_is_of_the_sources_that_the_stage_began_with(package: Path) -> None:
    note_sources(Code("lamflow.stages.stage"))
    before = code_digest("lamflow.stages.stage")
    package.joinpath("stages", "stage.py").write_text("half an edi(", encoding="utf-8")
    assert code_digest("lamflow.stages.stage") == before


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_have_the_mode_that_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "card.md", "x")
        with atomic_path(tmp_path / "model.safetensors") as temporary:
            save_file({"weight": torch.zeros(2)}, temporary)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()] == [mode, mode]
