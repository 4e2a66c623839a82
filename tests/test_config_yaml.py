"""What is refused of a YAML file that others read without a word: the key as it is written, its line, and the cure."""

import time
from pathlib import Path

import pytest

from lamflow.yaml_files import check_files, read_yaml

ROOT = Path(__file__).parents[1]
SHIPPED = sorted([*ROOT.glob("config/*.yaml"), *ROOT.glob("config/variants/*.yaml"), *ROOT.glob("slurm/*.yaml")])


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "my.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_files_in_the_repository_hold_no_surprise(path: Path) -> None:
    check_files([path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [0]\nenvs: []\nseeds: [1]\n", "seeds: given twice, in lines 1 and 3; keep one"),
        ("methods:\n  bc:\n    kind: bc\n    kind: vpt\n", "methods.bc.kind: given twice, in lines 3 and 4; keep one"),
        ("work:\n  - {macs: 1, macs: 2}\n", "work.0.macs: given twice"),
        ("{a: 1, a: 2}", "a: given twice"),
        ('{"seeds": [0],\n\t"seeds": [1]}', "seeds: given twice; keep one"),
        ("a: &a {x: 1}\nb: &b {y: 1}\nc:\n  <<: *a\n  <<: *b\n", "c.<<: given twice, in lines 4 and 5; give both in one list: <<: [*a"),
        ("methods:\n  on: {kind: bc}\n", 'methods.on: YAML reads the key `on` as true, and keys are text: quote it: "on" (line 2)'),
        ("methods: {NO: {}}", "methods.NO: YAML reads the key `NO` as false"),
        ("null: 1", "null: YAML reads the key `null` as null"),
        ("~: 1", "~: YAML reads the key `~` as null"),
        ("?\n: 1\n", "?: YAML reads the key `` as null, and keys are text: write the key before the colon"),
        ("lams: {1: {}}", "lams.1: YAML reads the key `1` as a number"),
        ("lams: {1e5: {}, 1.0e+5: {}}", "lams.1.0e+5: YAML reads the key `1.0e+5` as a number"),
        ("lams: {010: {}}", "lams.010: YAML reads the key `010` as a number"),
        ("lams: {2024-01-01: {}}", "lams.2024-01-01: YAML reads the key `2024-01-01` as a date"),
        ("? [a, b]\n: 1", "?: a list or mapping stands where a key is expected (line 1)"),
        ("seeds: [010]", 'seeds.0: found `010`, which YAML reads as the octal number 8; write that, or quote it where text is'),
        ("trial: {steps: 1:30}", "trial.steps: found `1:30`, which YAML reads as the number 90 to base 60"),
        ("a: 1:30.5", "a: found `1:30.5`, which YAML reads as the number 90.5 to base 60"),
        ("experiment: 2024-01-01", 'experiment: found `2024-01-01`, which YAML reads as a date; quote it: "2024-01-01" (line 1)'),
        ("a: !!python/name:os.system", "a: the tag `tag:yaml.org,2002:python/name:os.system` is not known here (line 1)"),
        ("a: !!set {b}", "a: the tag `tag:yaml.org,2002:set` is not known here"),
        ("a: !!int one", "not readable as YAML: invalid literal"),
        ("a: !!bool perhaps", "not readable as YAML"),
        ("a: " + "9" * 5000, "a: found `" + "9" * 77 + "...`, which YAML reads as a number of thousands of digits"),
        ("a: 1\n---\nb: 2\n", "not readable as YAML: expected a single document"),
        ("a: *b", "not readable as YAML: found undefined alias"),
        ("a: &a {b: *a}", "an alias stands inside its own anchor; write out what is meant (line 1)"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deep; expected at most 50 levels"),
        ("a: " + "[" * 800, "nested too deep; expected at most 50 levels"),
        ("[" * 800 + "]" * 800, "nested too deep; expected at most 50 levels"),
        (b"a: 1\nb: \xe9\n", "my.yaml, line 2, byte 4: found the byte 0xe9, which is no UTF-8: save the file as UTF-8"),
        (b"a: \x00\n", "not readable as YAML: unacceptable character"),
        (b"a: 1\n" * 1_000_000, "found 5,000,000 bytes, expected a YAML file of 4,000,000 at most"),
    ],
)  # fmt: skip
def test_what_yaml_reads_otherwise_than_people_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        read_yaml(written(tmp_path, content))
    assert message in str(raised.value) and "my.yaml" in str(raised.value)


@pytest.mark.parametrize("kind", ["lists", "mappings", "merges"])
def test_three_kilobytes_of_nested_aliases_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    opened, closed, part = {
        "lists": ("[", "]", "*a{}"),
        "mappings": ("{", "}", "k{key}: *a{}"),
        "merges": ("[", "]", "{{<<: *a{}}}"),
    }[kind]
    lines = [f"a0: &a0 {opened}{closed}"]
    for level in range(1, 40):
        parts = ", ".join(part.format(level - 1, key=key) for key in range(9))
        lines.append(f"a{level}: &a{level} {opened}{parts}{closed}")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"aliases make .* values of the few that are written|nested too deep"):
        read_yaml(written(tmp_path, "\n".join(lines)))
    assert time.monotonic() - began < 5


def test_all_problems_of_a_file_are_listed(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"(?s)my\.yaml: 3 problem\(s\)\n  a: given twice.*\n  b\.on: .*\n  c: found `010`"
    ):
        read_yaml(written(tmp_path, "a: 1\na: 2\nb: {on: 1}\nc: 010\n"))


def test_what_is_written_plainly_is_read_as_ever(tmp_path: Path) -> None:
    content = """\
        base: &base {steps: 10, rate: 3.0e-4}
        layered: {<<: *base, steps: 20}
        switch: no
        quoted: {"on": 1, 'null': 2}
        texts: ["010", '1:30', 3e-4, y, 09]
        numbers: [0, 1_000, 0x1f, .5, -.inf, 1.0e+3]
        """
    assert read_yaml(written(tmp_path, content)) == {
        "base": {"steps": 10, "rate": 3e-4},
        "layered": {"steps": 20, "rate": 3e-4},
        "switch": False,
        "quoted": {"on": 1, "null": 2},
        "texts": ["010", "1:30", "3e-4", "y", "09"],
        "numbers": [0, 1000, 31, 0.5, float("-inf"), 1000.0],
    }
    assert read_yaml(written(tmp_path, '\ufeff{"a": [1, "é"]}')) == {"a": [1, "é"]}
    assert read_yaml(written(tmp_path, "")) is None
