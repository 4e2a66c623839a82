"""Decoders, policies and rollouts of every kind of method on a small world, and what does not belong together."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import WindowSpec, transition_rows
from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.presets import preset
from lamflow.evaluation.results import RETURNS_COLUMNS
from lamflow.methods import cloning as cloning_module
from lamflow.methods.jobs import Job
from lamflow.methods.settings import method_settings
from lamflow.policies import members as members_module
from lamflow.policies.agents import PolicyAgent
from lamflow.policies.members import Member, label_members, labelled_rows, read_members
from lamflow.stages import evaluate_agents as evaluate_module
from lamflow.stages.evaluate_agents import evaluate_agents
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_policy import train_policy
from lamflow.training.checkpoint import read_model, save_model

ENV = "xland-empty-random-8x8-full"
LABELS, DRAWS = (16, "2 trajectories"), 2
MEMBERS = label_members(LABELS, DRAWS)
TRAINING = {"steps": 6, "batch_size": 32, "learning_rate": 3e-3, "log_every": 3, "validate_every": 3}
POLICY = {"network": {"width": 8, "layers": 2, "hidden_width": 16, "pooling": "flatten"}, "training": TRAINING}
DECODER = {"hidden_widths": [8], "training": TRAINING}
METHODS: dict[str, dict[str, Any]] = {
    "lapo": {"kind": "latent", "lam": "lapo", "policy": POLICY, "decoder": DECODER},
    "codes_mlp": {"kind": "latent", "lam": "lapo", "target": "codes", "policy": POLICY, "decoder": DECODER},
    "dictionary": {
        "kind": "latent",
        "lam": "single",
        "target": "codes",
        "policy": POLICY | {"symmetry": "rotation"},
        "decoder": {"kind": "dictionary"},
    },
    "continuous": {"kind": "latent", "lam": "continuous", "policy": POLICY, "decoder": DECODER},
    "mixture": {
        "kind": "latent",
        "lam": "lapo",
        "target": "mixture",
        "mixture": {"components": 2},
        "policy": POLICY | {"context": 2},
        "decoder": DECODER,
        "action_selection": "argmax",
    },
    "flow": {
        "kind": "latent",
        "lam": "lapo",
        "target": "flow",
        "flow": {"integration_steps": 2, "hidden_widths": [8], "samples": 2},
        "policy": POLICY | {"context": 2, "recurrent": True},
        "decoder": DECODER | {"observation": True},
    },
    "codes_observing": {
        "kind": "latent",
        "lam": "lapo",
        "target": "codes",
        "policy": POLICY,
        "decoder": DECODER | {"observation": True},
    },
    "bc": {"kind": "bc", "policy": POLICY | {"context": 2, "recurrent": True}},
    "vpt": {
        "kind": "vpt",
        "inverse_dynamics": POLICY["network"],
        "symmetry": "rotation",
        "policy": POLICY | {"context": 2},
        "decoder": DECODER,
    },
    "oracle_bc": {"kind": "oracle_bc", "policy": POLICY},
    "random": {"kind": "random"},
}
DECODED = ("lapo", "codes_mlp", "dictionary", "continuous", "mixture", "flow", "codes_observing", "vpt")
OBSERVING = ("flow", "codes_observing")
PLAYED = [method for method in METHODS if method != "random"]


class Stages:
    """Runs the stages of a method in a folder; keywords change their arguments."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world, self.folder = world, folder

    def common(self, method: str) -> dict[str, Any]:
        return {
            "environment": preset(ENV).facts(),
            "method": method,
            "settings": METHODS[method],
            "labels": LABELS,
            "label_draws": DRAWS,
            "seed": 0,
        }

    def latents(self, method: str, split: str) -> Path | None:
        lam = METHODS[method].get("lam")
        return self.world.latents(lam, split) if lam else None

    def decoders(self, method: str, **changes: Any) -> Path:
        output = self.folder / method / "decoders.safetensors"
        arguments = {"train": self.world.episodes(), "latents": self.latents(method, "train"), "output": output}
        if method in OBSERVING:
            arguments["policy"] = self.folder / method / "policy.safetensors"
        train_action_decoders(**(self.common(method) | arguments | changes))
        return output

    def policy(self, method: str, **changes: Any) -> Path:
        folder = self.folder / method
        if method == "vpt" and "decoders" not in changes:
            changes["decoders"] = self.decoders("vpt")
        arguments = {
            "logging": {},
            "train": self.world.episodes(),
            "validation": self.world.episodes("validation"),
            "latents": self.latents(method, "train"),
            "validation_latents": self.latents(method, "validation"),
            "decoders": None,
            "output": folder / "policy.safetensors",
            "metrics": folder / "metrics.csv",
            "state_dir": folder / "state",
        }
        train_policy(**(self.common(method) | arguments | changes))
        return folder / "policy.safetensors"

    def evaluate(self, method: str, **changes: Any) -> list[dict[str, str]]:
        decoders = self.folder / method / "decoders.safetensors"
        arguments: dict[str, Any] = {
            "evaluation": {"episodes": 10},
            "collection": {},
            "episodes": self.world.episodes("test"),
            "policy": None if method == "random" else self.folder / method / "policy.safetensors",
            "decoders": decoders if METHODS[method]["kind"] == "latent" else None,
            "output": self.folder / method / "returns.csv",
        }
        evaluate_agents(**(self.common(method) | arguments | changes))
        with (self.folder / method / "returns.csv").open() as opened:
            return list(csv.DictReader(opened))


@pytest.fixture
def stages(
    world: Any, grid_world: Callable[[int], VectorEnvironment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stages:
    """With the grid world in place of the simulator."""
    monkeypatch.setattr(evaluate_module, "make_vector_environment", lambda name, count, **_: grid_world(count))
    monkeypatch.setattr(
        evaluate_module,
        "draw_levels",
        lambda env, split, count, seed, *_, **__: torch.arange(count).numpy() + 10_000 + seed % 1000,
    )
    return Stages(world, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_method_goes_all_the_way_to_its_returns(method: str, stages: Stages) -> None:
    if method in PLAYED:
        policies, _, _ = read_members(stages.policy(method), env=ENV, method=method, seed=0)
        assert policies == (MEMBERS if method in ("bc", "vpt") else [Member("all", 0)])
        assert stages.folder.joinpath(method, "policy.json").exists()
    if method in DECODED:
        members, weights, _ = read_members(stages.decoders(method), env=ENV, method=method, seed=0)
        assert members == MEMBERS and len(weights) == len(MEMBERS)
    rows = stages.evaluate(method)
    assert tuple(rows[0]) == RETURNS_COLUMNS
    expected = {"oracle_bc": [Member("all", 0)], "random": [Member("0", 0)]}.get(method, MEMBERS)
    agents = [(row["labels"], row["label_draw"], row["episode"]) for row in rows]
    assert agents == [(member.labels, str(member.label_draw), str(e)) for member in expected for e in range(10)]
    for member in range(len(expected)):
        levels = [row["level_seed"] for row in rows[10 * member : 10 * member + 10]]
        assert levels == [row["level_seed"] for row in rows[:10]], "all members play the same levels"
    assert {(row["return_random"], row["return_expert"], row["seed"]) for row in rows} == {("0.1", "1.0", "0")}
    assert all((float(row["return"]) == 1) == (row["success"] == "True") for row in rows)
    assert all(1 <= int(row["length"]) <= 40 for row in rows)


TAKEN, PLAYED_IN = "bf16 (CPU with AMX, ", "float32 (over grids)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "computed"),
    [
        ("lapo", {"decoders": [TAKEN], "policy": [TAKEN], "returns": [PLAYED_IN]}),
        ("dictionary", {"decoders": [], "policy": [TAKEN], "returns": [PLAYED_IN]}),
        ("vpt", {"decoders": [TAKEN], "policy": [TAKEN], "returns": [PLAYED_IN]}),
        ("random", {"returns": []}),
    ],
)
def test_the_provenance_says_in_which_precision_networks_computed(
    method: str,
    computed: dict[str, list[str]],
    stages: Stages,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("lamflow.training.precision.processor_of", lambda device: "CPU with AMX")
    if method in PLAYED:
        stages.policy(method)
    if method in DECODED:
        stages.decoders(method)
    stages.evaluate(method)
    printed = capsys.readouterr().out
    for artefact, expected in computed.items():
        found = json.loads(stages.folder.joinpath(method, f"{artefact}.json").read_text())["precision"]
        assert len(found) == len(expected)
        assert all(taken.startswith(beginning) for taken, beginning in zip(found, expected, strict=True))
        assert all(f": precision {taken}" in printed for taken in found)


def test_a_method_of_certain_label_draws_has_the_decoders_of_these_alone(stages: Stages) -> None:
    whole, weights, _ = read_members(stages.decoders("lapo"), env=ENV, method="lapo", seed=0)
    some, found, _ = read_members(stages.decoders("lapo", labels=[16], label_draws=[1]), env=ENV, method="lapo", seed=0)
    assert some == [Member("16", 1)]
    expected = weights[whole.index(some[0])]
    assert all(torch.equal(found[0][name], tensor) for name, tensor in expected.items())
    stages.policy("lapo")
    rows = stages.evaluate("lapo", labels=[16], label_draws=[1])
    assert {(row["labels"], row["label_draw"]) for row in rows} == {("16", "1")}
    with pytest.raises(ValueError, match="holds other label counts or draws than the configuration"):
        stages.evaluate("lapo")


@pytest.mark.slow
def test_the_oracle_finds_the_goal_and_the_random_agent_hardly_does(stages: Stages) -> None:
    network = {"width": 16, "layers": 2, "hidden_width": 64}
    training = TRAINING | {"steps": 300, "batch_size": 64, "validate_every": 300}
    stages.policy("oracle_bc", settings={"kind": "oracle_bc", "policy": {"network": network, "training": training}})
    greedy = {"episodes": 40, "action_selection": "argmax"}
    oracle, chance = (stages.evaluate(method, evaluation=greedy) for method in ("oracle_bc", "random"))
    found, by_chance = (sum(row["success"] == "True" for row in rows) / 40 for rows in (oracle, chance))
    assert found > 0.8 and by_chance < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lapo", "flow", "bc"])
def test_the_same_run_gives_the_same_bytes(method: str, stages: Stages, tmp_path: Path) -> None:
    again = Stages(stages.world, tmp_path / "again")
    assert stages.policy(method).read_bytes() == again.policy(method).read_bytes()
    if method in DECODED:
        assert stages.decoders(method).read_bytes() == again.decoders(method).read_bytes()
    assert stages.evaluate(method) == again.evaluate(method)


def test_a_latent_policy_standardises_by_the_transitions_of_the_train_split(stages: Stages) -> None:
    _, (weights,), header = read_members(stages.policy("mixture"), env=ENV, method="mixture", seed=0)
    held = LatentStore.open(stages.world.latents("lapo")).load()
    latents = torch.from_numpy(held.latents[held.valid])
    torch.testing.assert_close(weights["head.mean"], latents.mean(0))
    torch.testing.assert_close(weights["head.deviation"], latents.std(0, correction=0))
    assert header["head"] == {"latent_dim": latents.shape[1], "settings": {"kind": "mixture", "components": 2}}


def test_a_method_selects_its_actions_by_its_own_settings_or_by_those_of_the_evaluation(stages: Stages) -> None:
    stages.policy("oracle_bc")
    for own, of_evaluation, expected in (
        (None, "argmax", "argmax"),
        (None, "sample", "sample"),
        ("argmax", "sample", "argmax"),
        ("sample", "argmax", "sample"),
    ):
        method = method_settings(METHODS["oracle_bc"] | {"action_selection": own}).build()
        job = Job("oracle_bc", preset(ENV), 0, {"policy": stages.folder / "oracle_bc" / "policy.safetensors"})
        _, agent = method.agent(job, of_evaluation)
        assert isinstance(agent, PolicyAgent) and agent.action_selection == expected


@pytest.mark.slow
def test_all_methods_see_the_same_labels(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[list[int]]] = []
    draw = members_module.draw_labels

    def draw_and_note(*arguments: Any, **keywords: Any) -> torch.Tensor:
        rows = draw(*arguments, **keywords)
        drawn[-1].append(rows.tolist())
        return rows

    monkeypatch.setattr(members_module, "draw_labels", draw_and_note)
    for run in (stages.decoders, stages.policy):
        for method in ("lapo", "dictionary") if run == stages.decoders else ("bc",):
            drawn.append([])
            run(method)
    drawn.append([])
    stages.decoders("vpt")
    assert len(drawn) == 4 and all(len(rows) == len(MEMBERS) for rows in drawn)
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]
    assert drawn[0][0] != drawn[0][1], "another draw has other labels"


@pytest.mark.slow
def test_vpt_clones_pseudo_labels_and_keeps_the_labels_that_it_knows(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, clone = [], cloning_module.clone

    def clone_and_note(**arguments: Any) -> Any:
        seen.append(arguments["train_examples"])
        return clone(**arguments)

    monkeypatch.setattr(cloning_module, "clone", clone_and_note)
    stages.policy("vpt")
    arrays = EpisodeStore.open(stages.world.episodes()).load()
    true = torch.from_numpy(arrays.actions)
    for member, examples in zip(MEMBERS, seen, strict=True):
        assert torch.equal(examples.rows, transition_rows(arrays))
        known = torch.isin(examples.rows, labelled_rows(arrays, member, 0))
        held = examples.data.part(WindowSpec(columns=(examples.target,)), examples.rows)
        targets = held.at(examples.target)
        assert torch.equal(targets[known], true[examples.rows[known]])
        wrong = targets[~known] != true[examples.rows[~known]]
        assert wrong.float().mean() > 0.1, "an untrained inverse dynamics model is often wrong"


@pytest.mark.slow
def test_metrics_are_the_curves_of_the_first_member(stages: Stages) -> None:
    stages.policy("bc")
    with stages.folder.joinpath("bc", "metrics.csv").open() as opened:
        rows = [(row["step"], row["split"], row["name"]) for row in csv.DictReader(opened)]
    assert rows.count(("6", "train", "loss/total")) == rows.count(("6", "validation", "loss/total")) == 1


REFUSED: list[tuple[str, str, Callable[[Any], dict[str, Any]], str]] = [
    ("decoders", "lapo", lambda w: {"labels": (100_000,)}, "label count 100000 transitions: the episodes hold"),
    (
        "decoders",
        "vpt",
        lambda w: {"labels": ("51 trajectories",)},
        "label count 51 trajectories: the episodes hold 50",
    ),
    (
        "decoders",
        "lapo",
        lambda w: {"latents": None},
        "method 'lapo' needs the latents of the train split, and got none",
    ),
    ("decoders", "lapo", lambda w: {"latents": w.latents("single")}, "found lam 'single', expected 'lapo'"),
    ("decoders", "lapo", lambda w: {"seed": 1}, "found seed 0, expected 1"),
    (
        "decoders",
        "lapo",
        lambda w: {"environment": preset("xland-fourrooms").facts()},
        f"found environment '{ENV}', expected 'xland-fourrooms'",
    ),
    ("decoders", "lapo", lambda w: {"latents": w.latents("lapo", "validation")}, "found latents of other episodes"),
    ("decoders", "bc", lambda w: {}, "method 'bc' of kind 'bc' has no decoders"),
    ("decoders", "flow", lambda w: {"policy": None}, "method 'flow' needs its policy file, and got none"),
    ("decoders", "flow", lambda w: {}, r"policy\.safetensors: no such model file"),
    ("policy", "bc", lambda w: {"labels": (100_000,)}, "label count 100000 transitions: the episodes hold"),
    ("policy", "lapo", lambda w: {"latents": None}, "method 'lapo' needs the latents of the train split, and got none"),
    ("policy", "lapo", lambda w: {"validation_latents": None}, "needs the latents of the validation split"),
    ("policy", "lapo", lambda w: {"latents": w.latents("single")}, "found lam 'single', expected 'lapo'"),
    ("policy", "lapo", lambda w: {"seed": 1}, "found seed 0, expected 1"),
    ("policy", "lapo", lambda w: {"validation_latents": w.latents("lapo")}, "found latents of other episodes"),
    ("policy", "vpt", lambda w: {"decoders": None}, "method 'vpt' needs its decoders file, and got none"),
    ("policy", "oracle_bc", lambda w: {"environment": preset("xland-fourrooms").facts()}, f"found environment '{ENV}'"),
]


@pytest.mark.parametrize(("stage", "method", "changes", "message"), REFUSED, ids=[f"{r[0]}-{r[3]}" for r in REFUSED])
def test_what_does_not_belong_together_is_refused_before_training(
    stage: str, method: str, changes: Callable[[Any], dict[str, Any]], message: str, stages: Stages
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(stages, stage)(method, **changes(stages.world))
    assert not list(stages.folder.glob("**/*.safetensors"))


def test_vpt_refuses_inverse_dynamics_models_of_other_label_budgets(stages: Stages) -> None:
    decoders = stages.decoders("vpt", labels=(8,))
    with pytest.raises(
        ValueError, match=r"decoders\.safetensors: holds other label counts or draws than the policies'"
    ):
        stages.policy("vpt", decoders=decoders)


def test_agents_without_their_files_or_with_others_are_refused(stages: Stages) -> None:
    stages.policy("lapo")
    with pytest.raises(ValueError, match="method 'lapo' needs its decoders file, and got none"):
        stages.evaluate("lapo", decoders=None)
    with pytest.raises(ValueError, match=r"decoders\.safetensors: no such model file"):
        stages.evaluate("lapo")
    stages.decoders("lapo", labels=(8,))
    with pytest.raises(ValueError, match=r"decoders\.safetensors: holds other label counts or draws"):
        stages.evaluate("lapo")
    with pytest.raises(ValueError, match="method 'bc' needs its policy file, and got none"):
        stages.evaluate("bc", policy=None)
    with pytest.raises(ValueError, match=r"policy\.safetensors: found method 'lapo', expected 'bc'"):
        stages.evaluate("bc", policy=stages.folder / "lapo" / "policy.safetensors")
    with pytest.raises(ValueError, match=f"found environment '{ENV}', expected 'xland-fourrooms'"):
        stages.evaluate("random", environment=preset("xland-fourrooms").facts())


@pytest.mark.slow
def test_decoders_of_another_seed_are_refused_by_agents_and_by_vpt(stages: Stages) -> None:
    stages.policy("lapo")
    stages.decoders("lapo")
    path = stages.folder / "lapo" / "decoders.safetensors"
    tensors, header = read_model(path)
    save_model(path, tensors, header | {"seed": 1})
    with pytest.raises(
        ValueError, match=r"decoders\.safetensors: found seed 1, expected 0: give the file of that seed"
    ):
        stages.evaluate("lapo")
    decoders = stages.decoders("vpt", seed=1)
    with pytest.raises(
        ValueError, match=r"decoders\.safetensors: found seed 1, expected 0: give the file of that seed"
    ):
        stages.policy("vpt", decoders=decoders)


def test_a_policy_of_other_latents_than_its_decoders_is_refused(stages: Stages) -> None:
    path = stages.policy("lapo")
    stages.decoders("lapo")
    tensors, header = read_model(path)
    save_model(path, tensors, header | {"latents_digest": "0123"})
    with pytest.raises(ValueError, match=r"policy\.safetensors: found latents_digest '0123', expected '[0-9a-f]{64}'"):
        stages.evaluate("lapo")


def test_decoders_that_see_the_features_of_another_policy_are_refused(stages: Stages) -> None:
    (method,) = sorted(OBSERVING)[:1]
    path = stages.policy(method)
    stages.decoders(method)
    tensors, header = read_model(path)
    save_model(path, {name: tensor + 1e-3 for name, tensor in tensors.items()}, header)
    with pytest.raises(
        ValueError, match=r"decoders that see the features of another policy than .*policy\.safetensors"
    ):
        stages.evaluate(method)


def test_decoders_of_another_kind_than_the_settings_are_refused(stages: Stages) -> None:
    stages.decoders("lapo")
    stages.policy("lapo")
    settings = METHODS["lapo"] | {"target": "codes", "decoder": METHODS["dictionary"]["decoder"]}
    with pytest.raises(ValueError, match=r"decoders\.safetensors: found decoder 'mlp', expected 'dictionary'"):
        stages.evaluate("lapo", settings=settings)


def test_decoders_that_see_the_observation_are_told_from_those_that_do_not(stages: Stages) -> None:
    stages.policy("codes_mlp")
    stages.decoders("codes_mlp")
    settings = METHODS["codes_mlp"] | {"decoder": DECODER | {"observation": True}}
    with pytest.raises(ValueError, match="found decoder 'mlp', expected 'mlp with observation'"):
        stages.evaluate("codes_mlp", settings=settings)


def test_a_test_store_without_references_is_refused_where_the_environment_has_no_published_bounds(
    stages: Stages, write_walks: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_walks(tmp_path / "test.zarr", episodes=2, split="test", return_random=None)
    with pytest.raises(
        ValueError, match=r"test\.zarr: found return_random None and return_expert 1\.0, expected numbers"
    ):
        stages.evaluate("random", episodes=path)
