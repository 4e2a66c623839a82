"""Which module may import which: dependencies point one way."""

import ast
from pathlib import Path

import pytest

import lamflow
from lamflow.training.settings import TrainingSettings

ROOT = Path(lamflow.__file__).parent
ORDER = [
    {"atomic_files", "caches", "checkout", "settings", "spaces", "yaml_files"},
    {"kept_answers"},
    {"code_digests"},
    {"components", "provenance"},
    {"settings_errors"},
    {"episodes"},
    {"envs"},
    {"networks", "quantizers", "training"},
    {"data"},
    {"policies"},
    {"lam"},
    {"play"},
    {"rl"},
    {"methods"},
    {"exporting"},
    {"evaluation"},
    {"plots"},
    {"stages"},
    {"experiment"},
    {"runs"},
    {"loaded"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in imports_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif node.module == "lamflow":
            names |= {f"lamflow.{alias.name}" for alias in node.names}
        elif node.module:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("lamflow.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_rooms_to_its_left(path: Path) -> None:
    room = room_of(path)
    assert room in RANK, f"{path} is in no known room; known: {', '.join(RANK)}"
    for imported in imported_rooms(path) - {room}:
        assert RANK[imported] < RANK[room], f"{path}: {room} imports {imported}, which is not to its left"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_absolute_so_that_code_digests_can_follow_them(path: Path) -> None:
    assert all(isinstance(node, ast.Import) or node.level == 0 for node in imports_of(path))


def test_package_files_are_empty_so_that_code_digests_follow_only_what_is_used() -> None:
    for path in ROOT.rglob("__init__.py"):
        statements = ast.parse(path.read_text()).body
        assert path.parent == ROOT or not statements, f"{path} must stay empty"
        imported = {
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for statement in statements
            if not isinstance(statement, ast.If)  # for type checkers alone
            for node in ast.walk(statement)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported <= {"typing", "importlib"}, f"{path} must import nothing that takes time"


@pytest.mark.slow
def test_only_the_room_of_environments_imports_simulators() -> None:
    simulators = {"xminigrid", "procgen", "gym3", "mujoco", "metaworld"}
    for path in MODULES:
        for node in imports_of(path):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found = {module.split(".")[0] for module in modules} & simulators
            assert not found or room_of(path) == "envs", f"{path} imports {found}; only lamflow.envs may"


CHANGE_NO_RESULT = {"compile", "devices", "window_gib", "log_every", "validate_every", "checkpoint_every"}
"""Fields whose default a module may leave to a settings group that it fills itself."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_that_fills_a_settings_group_says_what_changes_its_result(path: Path) -> None:
    """Defaults are in no digest: an edited one would leave what was computed with the old one as if it were new."""
    if path.stem.endswith("settings"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TrainingSettings":
            said = {keyword.arg for keyword in node.keywords}
            missing = set(TrainingSettings.model_fields) - CHANGE_NO_RESULT - said
            assert not missing, (
                f"{path.name}, line {node.lineno}: TrainingSettings without {', '.join(sorted(missing))}"
            )


OF_ACTIONS = {"cross_entropy", "multinomial", "log_softmax"}
OF_OTHERS = {"policies/actions.py", "policies/learning.py", "policies/mixture_head.py", "networks/grid_dynamics.py"}
"""Where codes, components of a mixture, and the categories of a frame are predicted, and actions themselves."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_an_action_costs_and_how_one_is_drawn_is_written_once(path: Path) -> None:
    named = {
        node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)
    }
    assert str(path.relative_to(ROOT)) in OF_OTHERS or not named & OF_ACTIONS


STEPS = {"step", "send", "receive"}
OF_NO_ENVIRONMENT = {"optimizer.step", "network.step"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_environments_are_stepped_by_the_one_loop_alone(path: Path) -> None:
    """And by what stands around one in the room of environments: the steps that Gymnasium takes, a film in large pictures."""
    if room_of(path) in {"play", "envs"}:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STEPS
    }
    assert not called - OF_NO_ENVIRONMENT, f"{path} calls {', '.join(sorted(called))}: lamflow.play steps environments"


def test_one_function_plays() -> None:
    """The loop of all loops: no other module of the room of play sends or receives."""
    for path in sorted((ROOT / "play").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        stepped = {name for name in called if "environment." in name and name.rpartition(".")[2] in STEPS}
        assert bool(stepped) == (path.stem == "turns"), f"{path} calls {', '.join(stepped)}"
