"""What is chosen by its kind: our files of a room, and what other packages add by entry points."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lamflow.code_digests import code_digest
from lamflow.components import Registry
from lamflow.quantizers.settings import QuantizerSettings

THING = """from typing import Literal
from lamflow.components import Component

class Base(Component): ...
"""
CHOICE = """from typing import ClassVar, Literal
from {room}.base import Base

class {name}(Base):
    kind: Literal["{kind}"] = "{kind}"
    builds: ClassVar[str] = "{builds}"
"""

MakeRoom = Callable[..., Registry[Any]]


@pytest.fixture
def make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MakeRoom:
    """A room with the choice ``ours``, and an installed package ``acme`` whose entry point leads to ``value``."""
    room = f"room_{abs(hash(request.node.nodeid))}"

    def make(value: str | None = None, **modules: str) -> Registry[Any]:
        ours = CHOICE.format(room=room, name="OursSettings", kind="ours", builds=f"{room}.base:Base")
        for name, text in {f"{room}/__init__": "", f"{room}/base": THING, f"{room}/ours_settings": ours}.items():
            (tmp_path / name).with_suffix(".py").parent.mkdir(exist_ok=True)
            (tmp_path / name).with_suffix(".py").write_text(text)
        for name, text in modules.items():
            (tmp_path / f"{room}_{name}.py").write_text(text.replace("ROOM", room))
        if value is not None:
            facts = tmp_path / "acme-1.0.dist-info"
            facts.mkdir()
            (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
            (facts / "entry_points.txt").write_text(f"[{room}]\nmine = {value.replace('ROOM', room)}\n")
        monkeypatch.syspath_prepend(tmp_path)
        return Registry(room, import_module(f"{room}.base").Base)

    return make


def choice(kind: str = "theirs", builds: str = "acme.impl:Thing") -> str:
    return CHOICE.format(room="ROOM", name="TheirsSettings", kind=kind, builds=builds)


def test_a_room_with_choices_of_several_sorts_takes_each_where_it_belongs(make_room: MakeRoom) -> None:
    other = choice("others").replace("from ROOM.base import Base", "from lamflow.components import Component as Base")
    assert list(make_room("ROOM_theirs", theirs=other).choices()) == ["ours"]


@pytest.mark.parametrize("value", ["ROOM_theirs", "ROOM_theirs:TheirsSettings"], ids=["module", "class"])
def test_an_entry_point_adds_a_choice_by_its_module_or_its_class(make_room: MakeRoom, value: str) -> None:
    choices = make_room(value, theirs=choice()).choices()
    assert list(choices) == ["ours", "theirs"]
    assert choices["theirs"].__name__ == "TheirsSettings"


@pytest.mark.parametrize(
    ("value", "modules", "message"),
    [
        ("ROOM_nothing", {}, r"acme, entry point 'mine' of room_\d+ .*: could not be imported: ModuleNotFoundError"),
        ("ROOM_theirs", {"theirs": "1 / 0"}, "acme, entry point 'mine'.*could not be imported: ZeroDivisionError"),
        ("ROOM_theirs", {"theirs": "x = 1"}, "acme, entry point 'mine'.*found no settings class, expected a module with subclasses"),
        ("ROOM_theirs:x", {"theirs": "x = 1"}, "acme, entry point 'mine'.*found no settings class"),
        ("ROOM_theirs", {"theirs": choice(kind="ours")}, "found the kind 'ours' in .*ours_settings and in .*_theirs, expected it once"),
        ("ROOM_theirs", {"theirs": choice(builds="acme.impl")}, "builds: found 'acme.impl', expected 'package.module:Name'"),
    ],
    ids=["missing", "broken", "without settings", "no class", "same kind", "builds"],
)  # fmt: skip
def test_an_entry_point_that_cannot_be_used_is_named(
    make_room: MakeRoom, value: str, modules: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_room(value, **modules).choices()


def test_what_settings_build_must_be_there(make_room: MakeRoom) -> None:
    registry = make_room("ROOM_theirs", theirs=choice(builds="lamflow.quantizers.fsq:Nothing"))
    with pytest.raises(ValueError, match=r"builds: found no Nothing in lamflow.quantizers.fsq"):
        registry.choices()["theirs"]().build()


def test_a_component_without_source_is_named_by_its_digest() -> None:
    with pytest.raises(ValueError, match=r"no source file of the component acme.nothing"):
        code_digest("lamflow.stages.train_lam", components=frozenset({"acme.nothing"}))


def test_a_components_package_may_have_no_init_file_several_folders_and_import_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, text in {
        "one/spread/first.py": "from spread import second\n",
        "two/spread/second.py": "from importlib import import_module\nx = import_module('a' + 'b')\n",
    }.items():
        (tmp_path / part).parent.mkdir(parents=True)
        (tmp_path / part).write_text(text)
        monkeypatch.syspath_prepend(tmp_path / part.split("/")[0])
    component = frozenset({"spread.first"})
    assert code_digest("lamflow.quantizers.interface", components=component) != code_digest(
        "lamflow.quantizers.interface"
    )


def test_our_quantisers_are_found() -> None:
    assert {"vq_ema", "none", "fsq"} <= set(Registry("lamflow.quantizers", QuantizerSettings).choices())
