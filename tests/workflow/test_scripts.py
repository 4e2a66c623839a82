"""Scripts, rules and conda environments agree with the stages that they run."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
import yaml

from lamflow import code_digests

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(ROOT.joinpath("workflow", "scripts").glob("*.py"))
RULES = {
    match[1]: match[2]
    for path in sorted(ROOT.joinpath("workflow", "rules").glob("*.smk"))
    for match in re.finditer(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", path.read_text(), flags=re.MULTILINE | re.DOTALL)
}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "procgen": "procgen-mirror",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}
FOUND_BY_NAME = {
    registry: [f"lamflow.{room}.{path.stem}" for path in sorted(ROOT.joinpath("src/lamflow", room).glob(pattern))]
    for registry, room, pattern in (
        ("lamflow.envs.families", "envs", "*_family.py"),
        ("lamflow.envs.videos", "envs", "*_video.py"),
        ("lamflow.rl.demonstrations", "rl", "*_demonstrator.py"),
    )
}
DIRECTIVES = ["output", "log", "benchmark", "conda", "threads", "resources", "params", "message", "script"]


def entry_block(path: Path) -> ast.If:
    return next(node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.If))


def stage_call(path: Path) -> ast.Call:
    """The last statement of the block in which libraries load with the rule's threads."""
    (process,) = entry_block(path).body
    assert isinstance(process, ast.With)
    imported, called = process.body
    assert isinstance(imported, ast.ImportFrom) and isinstance(called, ast.Expr) and isinstance(called.value, ast.Call)
    return called.value


def stage_of(path: Path) -> tuple[str, str]:
    """Module and function that a script runs."""
    imported = next(node for node in ast.walk(entry_block(path)) if isinstance(node, ast.ImportFrom))
    (function,) = imported.names
    assert ast.unparse(stage_call(path).args[0]) == function.name
    return str(imported.module), function.name


def names_of(keyword: ast.keyword) -> list[str]:
    """The argument names of ``name=...`` and of ``**{name: ... for name in (names)}``."""
    if keyword.arg:
        return [keyword.arg]
    assert isinstance(keyword.value, ast.DictComp)
    return list(ast.literal_eval(keyword.value.generators[0].iter))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_one_call_that_its_stage_accepts(path: Path) -> None:
    block = entry_block(path)
    assert block.end_lineno - block.lineno < 25
    module, function = stage_of(path)
    names = [name for keyword in stage_call(path).keywords for name in names_of(keyword)]
    signature = inspect.signature(getattr(importlib.import_module(module), function))
    signature.bind(**dict.fromkeys(names))
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in signature.parameters.values())


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_everything_that_a_cluster_and_a_reader_need(name: str) -> None:
    found = re.findall(r"^    (\w+):", RULES[name], flags=re.MULTILINE)
    assert [directive for directive in found if directive in DIRECTIVES] == DIRECTIVES
    for resource in ("mem_mb=", "runtime="):
        assert resource in RULES[name]


@pytest.mark.parametrize("name", RULES)
def test_a_rules_code_digest_is_that_of_the_stage_it_runs(name: str) -> None:
    script = re.search(r'"\.\./scripts/(\w+\.py)"', RULES[name])
    digest = re.search(r'code=(?:method_)?code_of\("([\w.]+)"(?:, \w+_parts|, "\w+"(?:, \w+=\w+)?)?\)', RULES[name])
    assert script and digest
    assert digest[1] == stage_of(ROOT / "workflow" / "scripts" / script[1])[0]


def test_every_script_belongs_to_a_rule() -> None:
    used = {match for text in RULES.values() for match in re.findall(r'"\.\./scripts/(\w+)\.py"', text)}
    assert used == {path.stem for path in SCRIPTS}


def digested_modules(module: str) -> set[str]:
    """Those that count in a stage's digest: what they find by name is imported."""
    pending, seen = [module], set[str]()
    while pending:
        name = pending.pop()
        if name not in seen and (name == module or code_digests.parsed_module(name).counts):
            seen.add(name)
            pending.extend(code_digests.parsed_module(name).imported)
    return seen


def third_party_imports(module: str) -> set[str]:
    """Distributions that a lamflow module and the lamflow modules below it import."""
    digested = digested_modules(module)
    pending, seen, found = [module, "lamflow.experiment.reading", "lamflow.provenance"], set(), set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        path = code_digests.source_of(name)
        assert path
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
                if node.module.startswith("lamflow.") and code_digests.source_of(node.module):
                    pending.append(node.module)  # modules that digests leave out import as well
        pending.extend(code_digests.parsed_module(name).imported)
        pending.extend(FOUND_BY_NAME.get(name, []) if name in digested else [])
    found -= {"lamflow", *sys.stdlib_module_names}
    return {DISTRIBUTIONS.get(name, name) for name in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_a_rules_conda_environment_holds_what_its_stage_imports(name: str) -> None:
    environment = re.search(r'"\.\./\.\./(envs/\w+\.yaml)"', RULES[name])
    script = re.search(r'"\.\./scripts/(\w+\.py)"', RULES[name])
    assert environment and script
    dependencies = yaml.safe_load(ROOT.joinpath(environment[1]).read_text())["dependencies"]
    pins = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    post_deploy = ROOT / environment[1].replace(".yaml", ".post-deploy.sh")
    pins += re.findall(r"\S+==\S+", post_deploy.read_text()) if post_deploy.exists() else []
    available = {pin.split("==")[0].lower().replace("_", "-") for pin in pins} | {"pydantic-core"}
    wanted = {
        name.replace("_", "-") for name in third_party_imports(stage_of(ROOT / "workflow" / "scripts" / script[1])[0])
    }
    assert wanted <= available, f"{environment[1]} lacks {', '.join(sorted(wanted - available))}"
