"""What jobs ask for follows the configuration, the device and the attempt."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from lamflow.envs.recorded_settings import RecordedSettings
from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment
from lamflow.runs.costs import expected_seconds, gpus_in, memory_mb, time_limit_minutes
from lamflow.runs.rates import Frames, WorkKind, read_rates
from lamflow.runs.scope import UNKNOWN_ROWS, Scope, rows_of_recordings
from lamflow.runs.work import STAGES, work_of

PIXEL_STAGES = {"train_pixel_expert", "measure_expert", "import_lapo", "import_dgrl", "import_episodes"}

CONFIG = Path(__file__).parents[2] / "config"
RATES = read_rates(CONFIG / "rates.yaml")
FULL, EGOCENTRIC, RULES, COINRUN = "xland-doorkey-6x6-full", "xland-doorkey-6x6", "xland-r1-9x9-full", "procgen-coinrun"


def test_decoders_that_see_the_observation_cost_the_policys_answers() -> None:
    def observing(raw: dict) -> None:
        raw["methods"]["lapo"]["decoder"] = {**raw["methods"]["lapo"].get("decoder", {}), "observation": True}
        del raw["methods"]["lapo_rl_sl"]

    plain, seeing = (
        work_of(given, "train_action_decoders", wildcards(given))
        for given in (scope("paper"), scope("paper", observing))
    )
    assert [task.kind for task in seeing.tasks] == ["decoder_training", "labelling"]
    assert seeing.tasks[0].macs > plain.tasks[0].macs
    assert seeing.networks > 3_000_000 and seeing.window_bytes < 2**28
    assert seeing.tasks[1].samples >= 8192


def test_a_rate_is_the_measured_one_at_a_measured_size_and_falls_with_the_size() -> None:
    points = RATES.work["lam_training"].pixels.cpu
    sizes = [1, points[0].macs, 200_000_000, points[-1].macs, 2 * points[-1].macs]
    rates = [RATES.per_second("lam_training", "pixels", "cpu", macs) for macs in sizes]
    assert rates[0] == rates[1] == points[0].per_second
    assert rates[3] == points[-1].per_second
    assert rates[1] > rates[2] > rates[3]
    assert rates[4] == pytest.approx(rates[3] / 2)


def test_work_without_a_rate_of_a_gpu_has_that_of_a_core() -> None:
    for device in ("cpu", "gpu"):
        assert RATES.per_second("decoder_training", "pixels", device, 34688) == 79600


def test_a_wrong_key_in_the_table_of_rates_is_named(tmp_path: Path) -> None:
    raw = yaml.safe_load(CONFIG.joinpath("rates.yaml").read_text())
    raw["work"]["cloning"]["pixels"]["cpu"][0]["per_second"] = 0
    raw["orign"] = {}
    path = tmp_path / "rates.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ValueError, match=r"(?s)rates.yaml: 2 problem.*per_second.*orign"):
        read_rates(path)


def scope(name: str, edit: Callable[[dict], None] = lambda raw: None) -> Scope:
    """A shipped configuration, edited, with all rows of LAPO's data."""
    raw = yaml.safe_load(CONFIG.joinpath(f"{name}.yaml").read_text())
    edit(raw)
    experiment: Experiment = load_experiment(raw)
    rows = {"train": 80 * 32768, "validation": 32768, "test": 32768}
    imported = experiment.envs if experiment.collection.source == "lapo" else ()
    return Scope(experiment, RATES, dict.fromkeys(imported, rows))


def wildcards(given: Scope) -> dict[str, str]:
    experiment = given.experiment
    lam = next(iter(experiment.lams), "")
    return {"env": experiment.envs[0], "lam": lam, "method": "lapo", "split": "train", "game": "coinrun", "seed": "0"}


@pytest.mark.parametrize("name", ["tiny", "paper", "procgen_laptop"])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_rule_asks_for_half_as_much_memory_again_and_twice_the_time_with_each_attempt(name: str, device) -> None:
    given = scope(name)
    stages = set(STAGES) - (PIXEL_STAGES if name == "tiny" else set())
    online = [method for method, settings in given.experiment.methods.items() if settings.kind == "online"]
    for stage in [*stages, "summarise", "plot_latent_space"]:
        job = wildcards(given)
        if stage == "finetune_online":
            if not online:
                continue
            job["method"] = online[0]
        memory = [memory_mb(given, stage, job, device=device, attempt=n) for n in (1, 2, 3)]
        assert memory[0] > 500 and memory[2] < 64_000
        assert memory[1] == pytest.approx(1.5 * memory[0], abs=100)
        assert memory[2] == pytest.approx(2.25 * memory[0], abs=250)
        first, second, third = (
            time_limit_minutes(given, stage, job, device=device, processors=1, attempt=n) for n in (1, 2, 3)
        )
        assert first >= 10
        assert (second, third) == (2 * first, 4 * first)


@pytest.mark.parametrize("stage", ["train_lam", "train_policy", "train_action_decoders"])
def test_memory_grows_with_the_window(stage: str) -> None:
    def wider(raw: dict) -> None:
        raw["lams"]["lapo"]["training"]["window_gib"] = 8.0
        raw["methods"]["vpt"]["policy"]["training"]["window_gib"] = 8.0
        raw["methods"]["vpt"]["decoder"]["training"]["window_gib"] = 8.0

    small, large = (
        memory_mb(given, stage, wildcards(given) | {"method": "vpt"}, device="cpu", attempt=1)
        for given in (scope("procgen_laptop"), scope("procgen_laptop", wider))
    )
    assert large - small >= 4 * 1024


def test_an_online_training_costs_more_from_nothing_and_keeps_labels_only_where_a_decoder_is_refitted() -> None:
    given = scope("paper")
    fitted, plain, scratch = (
        work_of(given, "finetune_online", wildcards(given) | {"method": name})
        for name in ("lapo_rl_sl", "lapo_rl", "ppo_scratch")
    )
    assert scratch.tasks[0].macs > 5 * fitted.tasks[0].macs > 5 * plain.tasks[0].macs
    assert fitted.window_bytes - plain.window_bytes == pytest.approx(65_536 * 4 * 128, rel=0.01)


def test_no_memory_is_asked_for_a_window_that_no_split_can_fill() -> None:
    def fewer(raw: dict) -> None:
        raw["collection"]["train_episodes"] = 10

    given = scope("tiny", fewer)
    assert work_of(given, "train_lam", wildcards(given)).window_bytes < 10 * 300 * 5 * 5 * 2


def test_the_time_of_a_training_grows_with_its_steps_and_falls_with_its_gpus() -> None:
    def longer(raw: dict) -> None:
        raw["lams"]["lapo"]["training"] |= {"steps": 100_000, "validate_every": 10_000}

    given = scope("paper")
    hours, twice, shared = (
        expected_seconds(each, "train_lam", wildcards(given), device="gpu", processors=gpus) / 3600
        for each, gpus in ((given, 1), (scope("paper", longer), 1), (given, 2))
    )
    assert hours == pytest.approx(1, rel=0.02)
    assert twice == pytest.approx(2 * hours, rel=0.01)
    assert shared == pytest.approx(hours / 2, rel=0.01)


def test_methods_with_few_labels_cost_one_training_a_label_count_and_draw() -> None:
    def every_draw(raw: dict) -> None:
        del raw["methods"]["vpt"]["label_draws"]

    for given, agents in ((scope("paper"), 10), (scope("paper", every_draw), 50)):
        lapo, vpt = (work_of(given, "train_policy", wildcards(given) | {"method": name}) for name in ("lapo", "vpt"))
        assert vpt.tasks[0].samples == agents * lapo.tasks[0].samples
        assert vpt.output_bytes > 0.8 * agents * lapo.output_bytes


def test_policies_that_play_in_training_cost_their_rollouts_each_time() -> None:
    def watched(raw: dict) -> None:
        raw["evaluation"] = raw.get("evaluation", {}) | {"during_training": 5, "splits": ["train", "test"]}

    given = scope("tiny", watched)
    job = wildcards(given) | {"method": "lapo"}
    plain, seen, rollouts = (
        work_of(given, rule, job) for rule in ("train_policy", "train_evaluated_policy", "evaluate_agents")
    )
    assert seen.tasks[:-1] == plain.tasks and seen.tasks[-1].kind == "rollouts"
    assert seen.tasks[-1].samples == 5 * rollouts.tasks[0].samples / 2, "of one split, five times"


def test_labels_of_a_lam_cost_their_passes_and_leave_fewer_agents() -> None:
    def taught(raw: dict) -> None:
        raw["lams"]["lapo"]["supervision"] = {"labels": 256, "batch_size": 64}
        raw["methods"] = {name: method for name, method in raw["methods"].items() if method["kind"] != "online"}

    plain, given = scope("paper"), scope("paper", taught)
    lams = [work_of(each, "train_lam", wildcards(each)) for each in (plain, given)]
    assert len(lams[1].tasks) == 2 and lams[1].tasks[:1] == lams[0].tasks
    assert lams[0].batch_macs < lams[1].batch_macs < 1.5 * lams[0].batch_macs
    rollouts = [work_of(each, "evaluate_agents", wildcards(each)).tasks[0].samples for each in (plain, given)]
    kept = len([count for count in plain.experiment.labels if int(count) >= 256])
    assert rollouts[1] / rollouts[0] == pytest.approx(kept / plain.experiment.num_agents("lapo"))


def test_demonstrators_that_are_not_trained_cost_no_training() -> None:
    given = scope("tiny")
    planner, ppo = (
        work_of(given, "train_expert", wildcards(given) | {"env": env}).tasks
        for env in ("xland-r1-9x9", "xland-doorkey-5x5-full")
    )
    assert planner == () and ppo[0].samples == 32768


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({}, 0),
        ({"gpu": 1}, 1),
        ({"gpu": "2"}, 2),
        ({"gpu": 0, "gres": "gpu:1"}, 1),
        ({"gres": "gpu:a100:4"}, 4),
        ({"gpu": 0, "gres": "gpu"}, 1),
        ({"gres": "nvme:1"}, 0),
    ],
)
def test_gpus_are_read_from_either_form_of_the_request(resources: dict, gpus: int) -> None:
    assert gpus_in(resources) == gpus


def test_work_that_was_never_measured_takes_the_nearest_rates() -> None:
    """Of the same sort on such frames, else the same on other frames."""
    assert RATES.work["planning"].pixels is None
    assert RATES.measured_as("planning", "pixels") == ("collection", "pixels")
    assert RATES.per_second("planning", "pixels", "cpu", 10**6) == RATES.per_second(
        "collection", "pixels", "cpu", 10**6
    )
    few = RATES.model_copy(update={"work": {"ppo": RATES.work["ppo"]}, "frames": {"grid": RATES.frames["grid"]}})
    for kind in get_args(WorkKind):
        for frames in get_args(Frames):
            assert few.measured_as(kind, frames)[0] == "ppo" and few.per_second(kind, frames, "gpu", 10**6) > 0
    assert few.facts_of("pixels") == RATES.frames["grid"]


def test_a_table_without_any_rate_is_refused(tmp_path: Path) -> None:
    raw = yaml.safe_load(CONFIG.joinpath("rates.yaml").read_text())
    raw["work"] = {"ppo": {"unit": "steps"}}
    path = tmp_path / "rates.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ValueError, match="found no rates at all, expected those of at least one kind of work"):
        read_rates(path)


def test_an_estimate_that_fails_says_so_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    given = scope("tiny")
    job = wildcards(given) | {"method": "of a later version"}
    for attempt in (1, 2, 5000):
        assert memory_mb(given, "train_policy", job, device="cpu", attempt=attempt) > 500
        assert time_limit_minutes(given, "train_policy", job, device="cpu", processors=1, attempt=attempt) >= 10
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "cannot estimate the jobs of train_policy (KeyError: 'of a later version')" in said[0]


@pytest.mark.parametrize(("gpu", "number"), [("2", 2), (2, 2), ("a100:3", 3), ("a100", 1), ("", 0), (None, 0)])
def test_gpus_are_counted_however_they_are_asked_for(gpu: object, number: int) -> None:
    assert gpus_in({"gpu": gpu}) == number


def test_a_union_has_the_rows_of_its_members_and_plays_each_environment() -> None:
    union = {"kind": "union", "members": [EGOCENTRIC, "xland-r1-9x9"], "evaluation": {"members": ["xland-fourrooms"]}}

    def together(raw: dict) -> None:
        raw["envs"] = [{"two": union}, EGOCENTRIC, "xland-r1-9x9", "xland-fourrooms"]
        raw["only"] = {"lapo_online": [EGOCENTRIC], "lapo_codes": []}

    given = scope("tiny", together)
    for split, members in (("train", union["members"]), ("test", ["xland-fourrooms"])):
        assert given.rows_of("two", split) == sum(given.rows_of(env, split) for env in members)
        assert given.most_rows_of("two", split) == sum(given.most_rows_of(env, split) for env in members)
    two, fourrooms = (
        work_of(given, "evaluate_agents", {**wildcards(given), "env": env}) for env in ("two", "xland-fourrooms")
    )
    assert two.tasks[0].samples == fourrooms.tasks[0].samples
    job = wildcards(given)
    assert memory_mb(given, "train_lam", job, device="cpu", attempt=1) > 0
    assert memory_mb(given, "join_episodes", job, device="cpu", attempt=1) < 1500


def test_recordings_have_the_rows_that_their_source_says_or_a_guess(tmp_path: Path) -> None:
    for number in range(4):
        np.savez(tmp_path / f"{number}.npz", frames=np.zeros((6, 32, 32, 3), np.uint8))
    settings = RecordedSettings.model_validate({"episodes": {"kind": "npz", "path": str(tmp_path)}})
    spec = settings.build(name="mine")
    assert rows_of_recordings(spec) == {"train": 12, "validation": 6, "test": 6}
    unknown = dataclasses.replace(spec, own={**spec.own, "rows": dict.fromkeys(spec.own["rows"])})
    assert rows_of_recordings(unknown)["train"] == 2 * UNKNOWN_ROWS
