"""What a user's surroundings may not change: variables of other work, the locale, a missing home, a notebook."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lamflow.code_digests import code_digest

ROOT = Path(__file__).parents[1]
Run = Callable[..., str]


def run(program: str, *arguments: str, before: Iterable[str] = (), **variables: str | None) -> str:
    """What a Python program prints as its last line; None takes a variable away."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | variables
    result = subprocess.run(
        [*before, sys.executable, "-c", program, *arguments],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip().splitlines()[-1]


# Variables -----------------------------------------------------------------------------------------------------------

EPISODES = """
import hashlib
import jax
import numpy as np
from lamflow.envs.rollouts import rollout
from lamflow.envs.presets import preset
from lamflow.envs.xland import make_simulator

def act(params, timesteps, key):
    return jax.random.randint(key, timesteps.reward.shape, 0, 6)

digest = hashlib.sha256()
for episode in rollout(make_simulator(preset("xland-empty-random-8x8-full")), act, None, np.arange(2), 0, batch=2):
    for part in (*episode.observations.values(), episode.actions, episode.rewards):
        digest.update(part.tobytes())
print(digest.hexdigest())
"""
OTHER_WORK = {
    "JAX_ENABLE_X64": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "1",
    "JAX_ENABLE_CUSTOM_PRNG": "1",
    "JAX_LEGACY_PRNG_KEY": "error",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_TRANSFER_GUARD": "disallow",
}
"""Each alone gave other episodes or stopped the collection, but for the last rank promotion and precision."""


@pytest.mark.slow
def test_jaxs_variables_of_other_work_change_no_episode() -> None:
    assert run(EPISODES, **OTHER_WORK) == run(EPISODES, **dict.fromkeys(OTHER_WORK))


STORE = """
import sys
from pathlib import Path
from lamflow.data.group_reader import open_array
from lamflow.data.group_writer import ArraySpec, GroupWriter
from lamflow.provenance import file_digest
import numpy as np

path, spec = Path(sys.argv[1]), ArraySpec("frames", "uint8", (2, 3))
with GroupWriter(path, [spec]) as writer:
    writer.append("frames", np.arange(24, dtype=np.uint8).reshape(4, 2, 3))
read = open_array(path, spec, 4)[...]
print(file_digest(path), read.flags["C_CONTIGUOUS"], read.sum())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"ZARR_ARRAY__ORDER": "F"},
        {"ZARR_JSON_INDENT": "4"},
        {"ZARR_CODECS__ZSTD": "gone.Zstd", "ZARR_CODEC_PIPELINE__PATH": "gone.Pipeline"},
    ],
    ids=lambda variables: ", ".join(variables),
)
def test_zarrs_variables_change_no_store(tmp_path: Path, variables: dict[str, str]) -> None:
    plain = run(STORE, str(tmp_path / "plain.zarr"))
    assert run(STORE, str(tmp_path / "other.zarr"), **variables) == plain


FIGURE = """
import sys
from pathlib import Path
from lamflow.plots.style import in_style, new_figure, save_figure

with in_style():
    figure = new_figure(2)
    figure.add_subplot().plot([1, 2], [3, 4])
    save_figure(figure, Path(sys.argv[1]))
import hashlib
print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_notebooks_backend_and_a_users_style_change_no_figure(tmp_path: Path) -> None:
    style = tmp_path / "matplotlibrc"
    style.write_text("lines.linewidth: 9\naxes.prop_cycle: cycler('color', ['red'])\n", encoding="utf-8")
    other = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(style)}
    figures = [run(FIGURE, str(tmp_path / "figure.svg"), **variables) for variables in (dict.fromkeys(other), other)]
    assert figures[0] == figures[1]


# The locale ----------------------------------------------------------------------------------------------------------

NOT_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": None}
STAGE = "lamflow.stages.plot_performance_profile"
"""Its modules hold letters that are not ASCII."""


@pytest.fixture(params=["C", "en_US.ISO-8859-1"])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str | None]:
    """The variables of a locale whose encoding is not UTF-8."""
    variables = {**NOT_UTF8, "LC_ALL": request.param}
    if request.param == "C" and not f"{sys.prefix}{ROOT}".isascii():
        pytest.skip("Python itself does not start there: it cannot read the paths of this environment")
    if request.param != "C":
        made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(tmp_path / request.param)]
        if shutil.which("localedef") is None or subprocess.run(made, capture_output=True, check=False).returncode:
            pytest.skip("this machine cannot make locales")
        variables["LOCPATH"] = str(tmp_path)
    encoding = run("import locale; print(locale.getpreferredencoding(False))", **variables)
    assert encoding == {"C": "ANSI_X3.4-1968"}.get(request.param, "ISO-8859-1")
    return variables


def test_code_digests_do_not_depend_on_the_locale(locale: dict[str, str | None]) -> None:
    digested = run(f"from lamflow.code_digests import code_digest; print(code_digest({STAGE!r}))", **locale)
    assert digested == code_digest(STAGE)


WRITE = """
import sys
from pathlib import Path
from lamflow.atomic_files import write_text

write_text(Path(sys.argv[1]), "\\u03c4 \\u2265 1\\n")
print("done")
"""


def test_text_is_written_in_utf8_in_any_locale(locale: dict[str, str | None], tmp_path: Path) -> None:
    run(WRITE, str(tmp_path / "table.md"), **locale)
    assert tmp_path.joinpath("table.md").read_bytes() == "τ ≥ 1\n".encode()


LOG = """
import sys
from types import SimpleNamespace
from lamflow.stages.entry import stage_process

def fake():
    print("\\u03c4 \\u2265 1, and a name that is not text: \\udcff")

fake.__module__ = "lamflow.stages.fake"
with stage_process(SimpleNamespace(rule="fake", threads=1, log=[sys.argv[1]])) as run:
    run(fake)
print("done")
"""


def test_what_a_stage_prints_is_logged_in_utf8_in_any_locale(locale: dict[str, str | None], tmp_path: Path) -> None:
    run(LOG, str(tmp_path / "job.log"), **locale)
    expected = "τ ≥ 1, and a name that is not text: \\udcff\n"
    assert tmp_path.joinpath("job.log").read_text(encoding="utf-8") == expected


TEXT_READERS = {"read_text", "write_text", "fdopen", "TextIOWrapper"}
TEXT_READING_COMMANDS = {"run", "Popen", "check_output"}
CODE = [path for room in ("src", "workflow", "benchmarks") for path in sorted(ROOT.joinpath(room).rglob("*.py"))]


def says_encoding(call: ast.Call) -> bool:
    """Whether a call that reads or writes text names the encoding; calls that do neither do."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg for keyword in call.keywords}
    if name in TEXT_READING_COMMANDS:
        return not given & {"text", "universal_newlines"} or "encoding" in given
    if name == "open":
        modes = [
            value for value in map(constant, call.args[:2]) if isinstance(value, str) and set(value) <= set("rwxab+t")
        ]
        is_text = not call.args or (bool(modes) and not any("b" in mode for mode in modes))
        return not is_text or "encoding" in given or "mode" in given
    ours = isinstance(call.func, ast.Name)  # lamflow.atomic_files.write_text
    return name not in TEXT_READERS or ours or "encoding" in given


def constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("path.read_text()", False),
        ("path.write_text(text)", False),
        ("path.open('w')", False),
        ("path.open()", False),
        ("open(path, 'r')", False),
        ("subprocess.run(command, text=True)", False),
        ("path.read_text(encoding='utf-8')", True),
        ("path.open('rb')", True),
        ("os.open(path, os.O_RDONLY)", True),
        ("EpisodeStore.open(path)", True),
        ("write_text(path, text)", True),
        ("subprocess.run(command, encoding='utf-8')", True),
    ],
)
def test_calls_that_take_the_locales_encoding_are_found(call: str, said: bool) -> None:
    parsed = ast.parse(call, mode="eval").body
    assert isinstance(parsed, ast.Call)
    assert says_encoding(parsed) is said


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_read_and_write_of_text_says_its_encoding(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
    silent = [f"line {call.lineno}: {ast.unparse(call)}" for call in calls if not says_encoding(call)]
    assert not silent, f"{path} depends on the locale; add encoding='utf-8': {silent}"


# Homes ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> list[str]:
    """What begins a command to be run by a user without an entry in passwd, who can read everything and write nothing of ours."""
    powers = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    begin = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *powers]
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    if subprocess.run([*begin, "true"], capture_output=True, check=False).returncode:
        pytest.skip("setpriv is not allowed here")
    return begin


PLACELESS = dict.fromkeys(("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"))
JAX = """
from lamflow.envs.jax_setup import configure_jax
configure_jax()
import jax
print(jax.config.jax_compilation_cache_dir)
"""
UMAP = """
import numpy as np
from lamflow.plots.latent_umap import umap_plane
print(umap_plane(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)).shape)
"""
DRIVER = """
import os, sys
from pathlib import Path
from lamflow.runs.driver import take_over
take_over(Path(sys.argv[1]), needs_slurm=False)
print("taken")
"""


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/proc/no-home"], ids=["no home", "an unwritable home"])
def test_a_user_without_a_place_for_caches_can_work(stranger: list[str], home: str | None, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    variables = {**PLACELESS, "HOME": home, "TMPDIR": "/tmp", "JAX_COMPILATION_CACHE_DIR": None}
    assert run(JAX, before=stranger, **variables) == "None"
    assert run(FIGURE, str(tmp_path / "figure.svg"), before=stranger, **variables)
    assert run(DRIVER, str(tmp_path), before=stranger, **variables) == "taken"


@pytest.mark.whole
def test_umap_needs_no_place_for_what_it_compiles(stranger: list[str]) -> None:
    assert run(UMAP, before=stranger, **PLACELESS, TMPDIR="/tmp") == "(20, 2)"


@pytest.mark.slow
def test_programs_are_kept_in_the_users_cache_where_there_is_one(tmp_path: Path) -> None:
    kept = run(JAX, JAX_COMPILATION_CACHE_DIR=None, XDG_CACHE_HOME=str(tmp_path))
    assert kept.startswith(str(tmp_path / "lamflow" / "jax"))
