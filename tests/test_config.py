"""What a configuration may say, and what people read when it says something else."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from lamflow.data.label_budgets import LabelBudget
from lamflow.envs.presets import preset, presets
from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment, read_experiment
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.policies.settings import PolicySettings

CONFIG = Path(__file__).parents[1] / "config"
FILES = sorted(path for path in CONFIG.glob("*.yaml") if path.name not in {"datasets.yaml", "rates.yaml"})
VARIANTS = sorted(CONFIG.joinpath("variants").glob("*.yaml"))


def minimal(**changes: Any) -> dict[str, Any]:
    """A configuration as YAML gives it, with a LAM and two methods."""
    return {
        "experiment": "test",
        "envs": ["xland-doorkey-5x5"],
        "seeds": [0, 1],
        "lams": {"plain": {}},
        "methods": {"lapo": {"kind": "latent", "lam": "plain"}, "random": {"kind": "random"}},
    } | changes


def latent(**changes: Any) -> dict[str, Any]:
    return {"lapo": {"kind": "latent", "lam": "plain"} | changes}


def online(**changes: Any) -> dict[str, Any]:
    return {"methods": latent() | {"tuned": {"kind": "online", "of": "lapo"} | changes}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_configurations_in_the_repository_are_valid(path: Path) -> None:
    assert read_experiment(path).envs


def over_xland(*paths: Path) -> Experiment:
    """config/xland.yaml with files layered over it, as Snakemake does it."""
    merged = yaml.safe_load(CONFIG.joinpath("xland.yaml").read_text())
    for path in paths:
        update_config(merged, yaml.safe_load(path.read_text()))
    return load_experiment(merged)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.name)
def test_variants_are_trained_as_plain_lapo_is(path: Path) -> None:
    plain, layered = over_xland(), over_xland(path)
    assert layered.model_copy(update={"lams": plain.lams, "methods": plain.methods}) == plain
    assert plain.lams.items() <= layered.lams.items() and plain.methods.items() < layered.methods.items()
    lapo = plain.methods["lapo"]
    assert isinstance(lapo, LatentMethodSettings)
    for name in layered.methods.keys() - plain.methods.keys():
        variant = layered.methods[name]
        assert isinstance(variant, LatentMethodSettings)
        assert variant.policy.model_copy(update={"context": 1}) == lapo.policy
        assert layered.lams[variant.lam].training == plain.lams["lapo"].training
        assert layered.lams[variant.lam].inverse_dynamics == plain.lams["lapo"].inverse_dynamics


def test_a_variant_that_several_files_name_is_the_same_in_each() -> None:
    for path in VARIANTS:
        alone, last = over_xland(path), over_xland(*VARIANTS)
        assert alone.lams.items() <= last.lams.items() and alone.methods.items() <= last.methods.items(), path.name


def test_numbers_that_arrive_as_text_are_coerced() -> None:
    experiment = load_experiment(
        minimal(
            seeds=["0", "1"], labels=["16", "5 trajectories"], lams={"plain": {"training": {"learning_rate": "3e-4"}}}
        )
    )
    assert experiment.seeds == (0, 1)
    assert experiment.labels == (16, "5 trajectories")
    assert experiment.lams["plain"].training.learning_rate == 3e-4


def test_a_group_given_in_part_keeps_the_rest_of_its_own_default() -> None:
    assert PolicySettings.model_validate({"network": {"width": 8}}).network.pooling == "flatten"
    method = LatentMethodSettings.model_validate({"lam": "plain", "decoder": {"training": {"batch_size": 8}}})
    assert (method.decoder.training.steps, method.decoder.training.batch_size) == (300, 8)


def test_settings_survive_the_way_through_a_rules_params() -> None:
    experiment = load_experiment(minimal(labels=[16, "5 trajectories"]))
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment


def test_only_restricts_a_method_and_its_lam_to_some_environments() -> None:
    envs = ["xland-doorkey-5x5", "xland-fourrooms"]
    experiment = load_experiment(minimal(envs=envs, only={"lapo": ["xland-doorkey-5x5"]}))
    assert [experiment.methods_of(env) for env in envs] == [("lapo", "random"), ("random",)]
    assert [experiment.lams_of(env) for env in envs] == [("plain",), ()]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [(16, LabelBudget(16)), ("16", LabelBudget(16)), ("500 trajectories", LabelBudget(500, "trajectories"))],
)
def test_label_counts_are_transitions_or_trajectories(text: int | str, parsed: LabelBudget) -> None:
    assert LabelBudget.of_configuration(text) == parsed
    assert LabelBudget.parse(str(parsed)) == parsed


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({"sedes": [0]}, "sedes: unknown key; known here: .*experiment.* (found [0])"),
    ({"experiment": "My results"}, "experiment: String should match pattern .* (found 'My results')"),
    ({"envs": ["xland-dorkey-6x6"]}, "envs: unknown environment 'xland-dorkey-6x6'; known: .*xland-doorkey-6x6"),
    ({"envs": []}, "envs: .* at least 1 item"),
    ({"envs": ["xland-doorkey-5x5"] * 2}, "envs: environment 'xland-doorkey-5x5' is listed twice"),
    ({"seeds": ["one"]}, "seeds: seed 'one' is no non-negative integer"),
    ({"seeds": [0.5]}, "seeds: seed 0.5 is no non-negative integer"),
    ({"seeds": [-1]}, "seeds: seed -1 is no non-negative integer"),
    ({"seeds": [True]}, "seeds: seed True is no non-negative integer"),
    ({"seeds": [1, "1"]}, "seeds: seed 1 is listed twice"),
    ({"seeds": 3}, "seeds: expected a list (found 3)"),
    ({"labels": [0]}, "labels: label count 0: expected a positive integer or '<n> trajectories'"),
    (
        {"labels": ["16 episodes"]},
        "labels: label count '16 episodes': expected a positive integer or '<n> trajectories'",
    ),
    ({"labels": [16, "16"]}, "labels: label count 16 is listed twice"),
    (
        {"labels": ["3000 trajectories"]},
        "labels: 3000 trajectories exceeds the train split of xland-doorkey-5x5: 2000 episodes",
    ),
    (
        {"labels": [500_001]},
        "labels: 500001 exceeds the train split of xland-doorkey-5x5: .* at most 500000 transitions",
    ),
    ({"label_draws": 0}, "label_draws: Input should be greater than 0 (found 0)"),
    ({"collection": {"epsilon": 1.5}}, "collection.epsilon: Input should be less than or equal to 1 (found 1.5)"),
    ({"collection": {"episodes": 9}}, "collection.episodes: unknown key; known here: .*train_episodes.* (found 9)"),
    ({"collection": 9}, "collection: expected a mapping of keys to values (found 9)"),
    (
        {"lams": {"plain": {"quantiser": {}}}},
        "lams.plain.quantiser: unknown key; known here: .*quantizer",
    ),
    (
        {"lams": {"plain": {"training": {"steps": "1k"}}}},
        "lams.plain.training.steps: Input should be a valid integer, .* '1k'",
    ),
    (
        {"lams": {"plain": {"symmetry": "rotation"}}},
        "lams.plain.symmetry: rotation needs a full view, and xland-doorkey-5x5",
    ),
    ({"methods": {}}, "methods: .* at least 1 item"),
    ({"methods": {"x": {"kind": "bc", "lam": 1}}}, "methods.x.lam: unknown key"),
    (
        {"methods": {"lapo": {"lam": "plain"}}},
        "methods.lapo: kind is missing; expected one of .*latent",
    ),
    (
        {"methods": {"x": {"kind": "lapo"}}},
        "methods.x.kind: expected one of .*latent.* (found 'lapo')",
    ),
    (
        {"methods": {"x": {"kind": None}}},
        "methods.x.kind: expected one of .*latent.* (found nothing after the colon, or null)",
    ),
    (
        {"methods": {"x": {"kind": False}}},
        "methods.x.kind: expected one of .*; YAML reads off, no and false as false: quote",
    ),
    ({"methods": {"lapo": {"kind": "latent"}}}, "methods.lapo.lam: missing; it has no default"),
    ({"methods": latent(lam="plane")}, "methods.lapo.lam: unknown LAM 'plane'; known: plain"),
    (
        {"methods": latent(decodr={})},
        "methods.lapo.decodr: unknown key; known here: .*decoder",
    ),
    (
        {"methods": latent(policy={"network": {"depth": 3}})},
        "methods.lapo.policy.network.depth: unknown key; known here: .*width",
    ),
    (
        {"methods": latent(decoder={"kind": "dictionary"})},
        "methods.lapo: a dictionary decodes codes; set target: codes",
    ),
    (
        {"methods": latent(target="codes", decoder={"kind": "dictionary"})},
        "methods.lapo: a dictionary needs a LAM with one codebook of one token; 'plain' has 2 x 4",
    ),
    (
        {"methods": latent(target="codes"), "lams": {"plain": {"quantizer": {"kind": "none"}}}},
        "methods.lapo: codes need a quantiser, and LAM 'plain' has none",
    ),
    (
        {"lams": {"plain": {"supervision": {"labels": 2000}}}},
        "lams.plain.supervision.labels: 2000 exceeds every label budget in transitions, .* found labels: [16, 64, 256, 1024]",
    ),
    (
        {"lams": {"plain": {"supervision": {"label_draw": 3}}}},
        "lams.plain.supervision.label_draw: 3 is none of the 3 draws, .* see label_draws",
    ),
    (
        {"lams": {"plain": {"supervision": {"lables": 3}}}},
        "lams.plain.supervision.lables: unknown key; known here: .*labels",
    ),
    (
        {"lams": {"plain": {"idm_horizon": 11}}},
        "lams.plain.idm_horizon: Input should be less than or equal to 10 (found 11)",
    ),
    (
        {"methods": latent() | {"tuned": {"kind": "online", "of": "lap"}}},
        "methods.tuned.of: found 'lap', expected a method of kind latent; known: lapo",
    ),
    (
        {"methods": latent(policy={"recurrent": True, "context": 2}) | {"tuned": {"kind": "online", "of": "lapo"}}},
        "methods.tuned.of: 'lapo' has a recurrent policy, which online decoding cannot take; give it a context",
    ),
    (
        {
            "envs": ["xland-doorkey-5x5", "xland-doorkey-6x6"],
            "methods": latent() | {"tuned": {"kind": "online", "of": "lapo"}},
            "only": {"lapo": ["xland-doorkey-5x5"]},
        },
        "methods.tuned: runs on xland-doorkey-6x6, where its latent method 'lapo' does not; see `only`",
    ),
    (
        {"methods": latent() | {"tuned": {"kind": "online", "of": "lapo", "ppo": {"num_envs": 3}}}},
        "methods.tuned.ppo: num_envs: found 3, expected an even number",
    ),
    (
        {
            "methods": latent()
            | {"tuned": {"kind": "online", "of": "lapo", "ppo": {"value_head": {"starts_at": 9, "full_at": 8}}}}
        },
        "methods.tuned.ppo.value_head: full_at: found 8, expected at least starts_at = 9",
    ),
    (
        online(ppo={"num_envs": 8, "num_steps": 32, "minibatches": 256}),
        "methods.tuned.ppo: minibatches: found 256, which leaves one transition each",
    ),
    (
        online(ppo={"total_steps": 24_576}),
        "methods.tuned: ppo.policy_head.full_at: found 50000, expected at most ppo.total_steps = 24576",
    ),
    (
        online(variant="rl", ppo={"learning_rate": 0.01}),
        "methods.tuned: ppo.learning_rate: counts with variant: scratch alone; rl has those of policy_head",
    ),
    (
        online(decoder={"first_fit": 5000, "last_fit": 2000}),
        "methods.tuned: decoder.first_fit: found 5000, expected at most 2000",
    ),
    (online(ppo={"num_steps": 1}), "methods.tuned: ppo.num_steps: found 1; a decoder needs rollouts of 2 steps"),
    (online(decoder={"hidden_widths": [0]}), "methods.tuned.decoder.hidden_widths.0"),
    (
        online() | {"lams": {"plain": {"supervision": {"labels": 8}}}},
        "methods.tuned.of: the LAM of 'lapo', 'plain', has seen action labels (supervision)",
    ),
    (
        {"methods": latent(decoder={"observation": True}) | {"tuned": {"kind": "online", "of": "lapo"}}},
        "methods.tuned.of: 'lapo' has decoder.observation: true",
    ),
    ({"only": {"lap": ["xland-doorkey-5x5"]}}, "only.lap: unknown method; known: lapo, random"),
    ({"only": {"lapo": ["xland-doorkey-6x6"]}}, "only.lapo: environment 'xland-doorkey-6x6' is not among envs"),
]


@pytest.mark.parametrize(("change", "message"), BAD_KEYS, ids=[message[:60] for _, message in BAD_KEYS])
def test_a_bad_key_is_named_with_what_was_found_and_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        load_experiment(minimal(**change), source="my.yaml")
    parts = message.split(".*")
    text = str(raised.value)
    assert text.startswith("my.yaml: 1 problem(s)\n")
    for part in parts:
        assert part.strip() in text
        text = text[text.index(part.strip()) :]


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"(?s)3 problem.*experiment: missing.*envs: unknown environment.*sedes: unknown key"
    ):
        load_experiment({"envs": ["nowhere"], "seeds": [0], "sedes": [1], "methods": {"random": {"kind": "random"}}})


@pytest.mark.parametrize("content", ["- a\n- b\n", "", "just text\n"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"list.yaml: 1 problem\(s\)\n  the whole file: expected a mapping"):
        read_experiment(path)


def test_a_missing_file_and_broken_yaml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.yaml: not readable as YAML: .*No such file"):
        read_experiment(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("envs: [a\nseeds: 3")
    with pytest.raises(ValueError, match=r"broken.yaml: not readable as YAML"):
        read_experiment(tmp_path / "broken.yaml")


def test_an_unknown_environment_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown environment 'pong'; known: .*xland-fourrooms"):
        preset("pong")


PIXELS: dict[str, Any] = {
    "lams": {"plain": {"inverse_dynamics": {"kind": "impala"}, "forward_dynamics": {"kind": "unet"}}},
    "methods": {"lapo": {"kind": "latent", "lam": "plain", "policy": {"network": {"kind": "impala"}}}},
}


@pytest.mark.parametrize("name", presets())
def test_every_environment_may_stand_in_a_configuration(name: str) -> None:
    networks = PIXELS if preset(name).view == "pixels" else {}
    assert load_experiment(minimal(envs=[name], **networks)).envs == (name,)


@pytest.mark.parametrize(
    ("env", "key", "found"),
    [
        ("procgen-maze", "lams.plain.inverse_dynamics", {"kind": "grid"}),
        ("procgen-maze", "lams.plain.forward_dynamics", {"kind": "grid"}),
        ("xland-fourrooms", "lams.plain.inverse_dynamics", {"kind": "impala"}),
    ],
)
def test_a_network_that_does_not_suit_the_frames_is_refused(env: str, key: str, found: dict[str, str]) -> None:
    networks: dict[str, Any] = deepcopy(PIXELS if env.startswith("procgen") else {"lams": {"plain": {}}})
    networks["lams"]["plain"][key.rpartition(".")[2]] = found
    with pytest.raises(ValueError, match=rf"{key}\.kind: found {found['kind']}, and the frames of {env} need"):
        load_experiment(minimal(envs=[env], **networks))


def test_a_target_for_categories_is_refused() -> None:
    networks = {"forward_dynamics": {"kind": "grid", "target": "change"}}
    message = r"lams\.plain\.forward_dynamics: target: found 'change', and the cells of grids are categories: .*; leave target out"
    with pytest.raises(ValueError, match=message):
        load_experiment(minimal(lams={"plain": networks}))


def test_a_trial_cuts_every_number_and_leaves_the_networks() -> None:
    cut = load_experiment(minimal(trial={"steps": "5"}, labels=[16, 4096], label_draws=3))
    whole = load_experiment(minimal(labels=[16, 4096]))
    assert cut.labels == (16,) and cut.label_draws == 1
    assert cut.lams["plain"].training.steps == 5 and cut.lams["plain"].training.batch_size == 8
    assert cut.lams["plain"].inverse_dynamics == whole.lams["plain"].inverse_dynamics
    assert cut.collection.train_episodes == cut.evaluation.episodes == 4


@pytest.mark.parametrize(("most", "draws"), [(None, 3), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_vpt_may_have_fewer_label_draws_than_the_others(most: int | None, draws: int) -> None:
    methods = {"vpt": {"kind": "vpt", "label_draws": most}, "bc": {"kind": "bc"}}
    given = load_experiment(minimal(methods=methods, labels=[16, 64], label_draws=3))
    assert (given.label_draws_of("vpt"), given.label_draws_of("bc")) == (draws, 3)
    assert (given.num_agents("vpt"), given.num_agents("bc")) == (2 * draws, 6)


def test_a_method_whose_lam_has_seen_labels_has_the_budgets_that_hold_them() -> None:
    """Of the same draw; trajectories are drawn apart from transitions."""
    lams = {"plain": {}, "taught": {"supervision": {"labels": 64, "label_draw": 1}}}
    methods = {name: {"kind": "latent", "lam": name} for name in lams} | {"bc": {"kind": "bc"}}
    methods |= {"oracle": {"kind": "oracle_bc"}, "random": {"kind": "random"}}
    given = load_experiment(minimal(lams=lams, methods=methods, labels=[16, 64, 256, "500 trajectories"]))
    everything = [16, 64, 256, "500 trajectories"]
    assert given.labels_of("taught") == [64, 256] and given.label_draws_of("taught") == [1]
    for method in ("plain", "bc"):
        assert given.labels_of(method) == everything and given.label_draws_of(method) == 3
    for method in ("oracle", "random"):
        assert given.labels_of(method) == [] and given.label_draws_of(method) == 1
    assert [given.num_agents(method) for method in ("taught", "plain", "oracle", "random")] == [2, 12, 1, 1]


def test_a_trial_has_a_folder_of_its_own() -> None:
    name = load_experiment(minimal()).experiment
    assert load_experiment(minimal(trial={})).experiment == f"{name}-trial"


def test_a_trial_cuts_the_labels_of_a_lam_too() -> None:
    lams = {"plain": {"supervision": {"labels": 256, "label_draw": 2, "batch_size": 32}}}
    supervision = load_experiment(minimal(lams=lams, trial={})).lams["plain"].supervision
    assert supervision is not None
    assert (supervision.labels, supervision.label_draw, supervision.batch_size) == (64, 0, 8)


def test_a_trial_of_an_online_training_has_one_minibatch_whatever_divided_its_rollouts() -> None:
    tuned = load_experiment(minimal(trial={}, **online(ppo={"num_envs": 48, "minibatches": 6}))).methods["tuned"]
    assert tuned.kind == "online" and (tuned.ppo.num_envs, tuned.ppo.minibatches) == (2, 1)


def test_a_trial_leaves_a_batch_norm_two_transitions_a_device() -> None:
    lams = {"plain": {"normalise": True, "training": {"batch_size": 64, "devices": 8}}}
    assert load_experiment(minimal(lams=lams, trial={})).lams["plain"].training.batch_size == 16


def test_a_trial_without_a_label_budget_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trial\.labels: no label budget is at most 64; found \[4096\]"):
        load_experiment(minimal(trial={}, labels=[4096]))
