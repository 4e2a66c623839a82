"""Digests of a function of a class: what it comes to counts, and nothing else of its module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamflow.code_digests import code_digest, parsed_module, source_of

LEARNER = """
from lamflow.policies.members import member_seed
from lamflow.policies.agents import PolicyAgent

STEPS = 3

class Learner:
    def __init__(self, settings):
        self.settings = settings

    def learn(self):
        return _trained(self.settings, member_seed)

    def act(self):
        return PolicyAgent, self._decoded()

    def _decoded(self):
        return 1

def _trained(settings, seed):
    return STEPS * settings

class Heir(Learner):
    def act(self):
        return 2
"""


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """The digest of a part of the module, with some of its text replaced."""
    monkeypatch.syspath_prepend(tmp_path)
    tmp_path.joinpath("theirs").mkdir()
    tmp_path.joinpath("theirs", "__init__.py").touch()

    def digest(part: str, old: str = "", new: str = "") -> str:
        assert old in LEARNER
        tmp_path.joinpath("theirs", "learner.py").write_text(LEARNER.replace(old, new) if old else LEARNER)
        for cached in (source_of, parsed_module, code_digest):
            cached.cache_clear()
        return code_digest("lamflow.settings", frozenset(), frozenset({f"theirs.learner:{part}"}))

    yield digest
    for cached in (source_of, parsed_module, code_digest):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("old", "new", "learns", "acts"),
    [
        ("STEPS = 3", "STEPS = 4", True, False),
        ("STEPS * settings", "STEPS + settings", True, False),
        ("self.settings, member_seed", "self.settings, None", True, False),
        ("PolicyAgent, self", "None, self", False, True),
        ("return 1", "return 3", False, True),
        ("self.settings = settings", "self.settings = settings * 2", True, True),
        ("return 2", "return 5", False, False),
    ],
)
def test_an_edit_counts_where_it_is_come_to(
    old: str, new: str, learns: bool, acts: bool, digest_of: Callable[..., str]
) -> None:
    changed = [digest_of(part, old, new) != digest_of(part) for part in ("Learner.learn", "Learner.act")]
    assert changed == [learns, acts]


def test_a_function_that_a_class_inherits_is_that_of_its_base(digest_of: Callable[..., str]) -> None:
    assert digest_of("Heir.learn", "STEPS = 3", "STEPS = 4") != digest_of("Heir.learn")
    assert digest_of("Heir.learn", "return 2", "return 5") == digest_of("Heir.learn")
    with pytest.raises(ValueError, match="found no class Nobody"):
        digest_of("Nobody.learn")
