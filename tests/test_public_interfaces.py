"""lamflow stands on what Snakemake and its plugins make public: no private name of theirs is used, and nothing of theirs is replaced."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = [ROOT / "workflow" / "Snakefile", *sorted(ROOT.joinpath("workflow", "rules").glob("*.smk"))]
MODULES = sorted([*ROOT.joinpath("src").rglob("*.py"), *ROOT.joinpath("workflow").rglob("*.py")])
PLUGINS = [path for path in MODULES if path.parent.name.startswith("snakemake_")]
PRIVATE = r"_(?!_)\w+"


def targets_of(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Attributes that a module assigns or deletes, by whatever kind of statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            yield node


def snakemakes_names(tree: ast.AST) -> set[str]:
    """What a module has imported from Snakemake, its plugins and their interfaces."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias for alias in node.names if alias.name.startswith("snakemake")]
            names |= {alias.asname or alias.name.partition(".")[0] for alias in found}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("snakemake"):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_private_names_are_set_by_their_owners_alone() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        own = set(re.findall(rf"\b(?:self|cls)\.({PRIVATE})", text))
        foreign = [target for target in targets_of(ast.parse(text)) if re.fullmatch(PRIVATE, target.attr)]
        assert [ast.unparse(target) for target in foreign if target.attr not in own] == [], path
        assert not re.search(rf"""setattr\([^)]*["']{PRIVATE}["']""", text), path


def test_tests_replace_what_is_public() -> None:
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if path != Path(__file__):
            found = re.findall(rf"""setattr\([^()]*,\s*["']{PRIVATE}["']""", path.read_text(encoding="utf-8"))
            assert found == [], path


@pytest.mark.slow
def test_nothing_that_is_imported_from_snakemake_is_replaced() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        names = snakemakes_names(tree)
        assert not names & {ast.unparse(target).partition(".")[0] for target in targets_of(tree)}, path
        assert not any(re.search(rf"setattr\({name}\b", text) for name in names), path


def test_rules_use_no_private_name_of_snakemake() -> None:
    for path in RULES:
        assert re.findall(rf"\w\.{PRIVATE}", path.read_text(encoding="utf-8")) == [], path


def test_plugins_have_no_private_names_that_could_be_those_of_what_they_inherit_from() -> None:
    for path in PLUGINS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert [name for name in used | defined if re.fullmatch(PRIVATE, name)] == [], path


def test_there_are_plugins_and_rules_to_look_at() -> None:
    assert {path.parent.name for path in PLUGINS} >= {
        "snakemake_executor_plugin_lamflow",
        "snakemake_logger_plugin_lamflow",
    }
    assert len(RULES) > 5
