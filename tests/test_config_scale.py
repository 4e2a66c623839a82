"""How much policies are trained on and how often they are played, as a configuration says it."""

from typing import Any

import pytest
from test_config import minimal

from lamflow.experiment.reading import load_experiment
from lamflow.experiment.targets import Targets

ORACLE = {"oracle_bc": {"kind": "oracle_bc", "policy": {"episodes": 30}}}


def collecting(episodes: int, **changes: Any) -> dict[str, Any]:
    return minimal(labels=[16], collection={"train_episodes": episodes}, methods=ORACLE) | changes


def test_policies_take_as_many_episodes_as_are_collected() -> None:
    assert load_experiment(collecting(30)).methods["oracle_bc"].policy_episodes == 30


def test_more_episodes_than_are_collected_are_refused_with_both_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"methods\.oracle_bc\.policy\.episodes: found 30, expected at most the 29 episodes"
    ):
        load_experiment(collecting(29))
    vpt = {"vpt": {"kind": "vpt", "labeller_episodes": 30, "policy": {"episodes": 5}}}
    with pytest.raises(
        ValueError, match=r"methods\.vpt\.labeller_episodes: found 30, expected at most the 29 episodes"
    ):
        load_experiment(collecting(29, methods=vpt))


def test_how_many_episodes_published_data_hold_is_found_by_the_stage() -> None:
    lapo = {"train_episodes": 29, "source": "lapo"}
    oracle = {"oracle_bc": {"kind": "oracle_bc", "policy": {"episodes": 30, "network": {"kind": "impala"}}}}
    assert load_experiment(minimal(envs=["procgen-bigfish"], labels=[16], collection=lapo, methods=oracle))


@pytest.mark.parametrize("count", [0, -1, "some", True, 2.5])
def test_a_number_of_episodes_is_one_or_all(count: object) -> None:
    with pytest.raises(ValueError, match=r"policy\.episodes"):
        load_experiment(collecting(30, methods={"oracle_bc": {"kind": "oracle_bc", "policy": {"episodes": count}}}))


def test_a_trial_cuts_the_episodes_of_policies_and_leaves_all_of_them_all() -> None:
    both = ORACLE | {"whole": {"kind": "oracle_bc"}, "vpt": {"kind": "vpt", "labeller_episodes": 20}}
    cut = load_experiment(collecting(30, methods=both, trial={"episodes": 3, "labels": 16}))
    assert (cut.methods["oracle_bc"].policy_episodes, cut.methods["whole"].policy_episodes) == (3, "all")
    assert cut.methods["vpt"].asked_episodes() == {"policy.episodes": "all", "labeller_episodes": 3}


@pytest.mark.parametrize("splits", [["train", "test"], ["test", "train"]])
def test_splits_stand_in_one_order(splits: list[str]) -> None:
    assert load_experiment(minimal(evaluation={"splits": splits})).evaluation.splits == ("test", "train")
    assert load_experiment(minimal()).evaluation.splits == ("test",)


@pytest.mark.parametrize("splits", [["train"], ["test", "test"], [], ["validation", "test"]])
def test_test_levels_are_always_played_and_those_of_validation_never(splits: list[str]) -> None:
    with pytest.raises(ValueError, match=r"evaluation\.splits"):
        load_experiment(minimal(evaluation={"splits": splits}))


def test_methods_that_cannot_play_in_training_are_named() -> None:
    seeing = {"seeing": {"kind": "latent", "lam": "plain", "decoder": {"observation": True}}}
    methods = seeing | {"lapo": {"kind": "latent", "lam": "plain"}, "random": {"kind": "random"}}
    (warning,) = load_experiment(minimal(methods=methods, evaluation={"during_training": 2})).warnings()
    assert warning.startswith("methods.seeing: is not evaluated in training")
    quiet = load_experiment(minimal(methods=methods))
    assert quiet.warnings() == [] and Targets(quiet).policy_returns() == []


def test_what_is_watched_in_training_has_a_table_and_a_figure() -> None:
    watched = Targets(load_experiment(minimal(evaluation={"during_training": 2})))
    assert watched.played_in_training() == ["lapo"] and watched.methods_trained_unseen() == []
    assert watched.policy_returns() == [
        f"results/test/policies/xland-doorkey-5x5/lapo/seed{seed}/curve.csv" for seed in (0, 1)
    ]
    made = {"results/test/summary/policy_returns.csv", "results/test/plots/policy_returns.svg"}
    assert made <= set(watched.final_results())
    assert not made & set(Targets(load_experiment(minimal())).final_results())
