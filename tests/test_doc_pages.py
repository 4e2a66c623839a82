"""The documentation names everything that the code has: environments, metrics, columns, arrays, stages."""

import re
from pathlib import Path

import pytest
import torch

from lamflow.data import latents
from lamflow.data.store import EPISODE_ARRAY_SPECS, row_array_specs
from lamflow.envs.presets import preset, presets
from lamflow.evaluation import columns
from lamflow.lam.probe import PROBE_WIDTHS
from lamflow.policies.actions import DiscreteActions

ROOT = Path(__file__).parents[1]
METRIC = re.compile(r'"((?:loss|fdm|latent|codebook|optimizer|supervision|probe)/\w+)"')


def page(name: str) -> str:
    return ROOT.joinpath("docs", name).read_text()


def logged_metrics() -> list[str]:
    source = "".join(path.read_text() for path in sorted(ROOT.joinpath("src/lamflow").rglob("*.py")))
    logits, actions, space = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), DiscreteActions(2, (0, 0))
    held_out = space.held_out_agreement(logits, actions, torch.ones(1, dtype=torch.bool))
    probes = [f"probe/{kind}_{name}" for name in held_out for kind in PROBE_WIDTHS]
    supervision = [f"supervision/{name}" for name in space.agreement(logits, actions)]
    return sorted({*METRIC.findall(source), *probes, *supervision, "return", "success", "entropy"})


def test_the_search_for_metrics_finds_those_of_every_kind() -> None:
    kinds = {name.split("/")[0] for name in logged_metrics()}
    assert {"loss", "fdm", "latent", "codebook", "optimizer", "probe", "supervision"} <= kinds


@pytest.mark.parametrize("name", logged_metrics())
def test_every_metric_is_explained(name: str) -> None:
    assert f"`{name}`" in page("metrics.md")


@pytest.mark.parametrize(
    "table",
    [
        columns.RETURNS_COLUMNS,
        columns.AGENT_COLUMNS,
        columns.AGGREGATE_COLUMNS,
        columns.IMPROVEMENT_COLUMNS,
        columns.DIFFERENCE_COLUMNS,
        columns.PROFILE_COLUMNS,
        columns.CURVE_COLUMNS,
        columns.POLICY_CURVE_COLUMNS,
        columns.POLICY_RETURNS_COLUMNS,
    ],
    ids=[
        "returns",
        "agents",
        "aggregate",
        "improvement",
        "differences",
        "profile",
        "curve",
        "policy_curve",
        "policy_returns",
    ],
)
def test_every_table_is_listed_with_its_columns_in_their_order(table: tuple[str, ...]) -> None:
    assert ", ".join(f"`{column}`" for column in table) in page("data-formats.md")


@pytest.mark.parametrize("name", presets())
def test_every_environment_is_listed_with_its_facts(name: str) -> None:
    spec = preset(name)
    frame = "x".join(map(str, spec.frame_shape))
    demonstrator = {"ppo": "PPO", "planner": "planner"}[spec.demonstrator]
    row = f"| `{name}` | {spec.simulator_id} | {spec.view} | {frame} | {spec.max_steps} | {demonstrator} |"
    assert row in page("environments.md")


def test_every_array_of_a_store_is_described() -> None:
    episodes = [array for name in presets() for array in row_array_specs(preset(name))]
    for array in [*episodes, *EPISODE_ARRAY_SPECS, *latents.array_specs(latent_dim=4, num_tokens=2)]:
        assert f"| `{array.name}` | {array.dtype} [" in page("data-formats.md")


def test_every_rule_that_makes_results_is_in_the_quickstarts_table() -> None:
    text = page("quickstart.md")
    for path in ROOT.joinpath("workflow/rules").glob("*.smk"):
        for rule in re.findall(r"^rule (\w+):", path.read_text(), flags=re.MULTILINE):
            assert any(f"`{known}`" in text for known in (rule, re.sub("_.*", "_*", rule), f"{rule.split('_')[0]}*")), (
                rule
            )
