"""What the targets `policies` and `evaluate` plan, and what an audience of trainings adds."""

from collections.abc import Callable
from pathlib import Path

import pytest

TINY = ("--configfile=config/tiny.yaml",)
Plan = Callable[..., list[str]]


def kinds(jobs: list[str]) -> set[str]:
    return {" ".join(job.split()[:2]) for job in jobs}


def of_kind(jobs: list[str], start: str) -> set[str]:
    return {job for job in jobs if job.startswith(start)}


@pytest.mark.slow
def test_the_targets_train_and_play_apart(planned_afresh: Plan) -> None:
    everything, trained, played = (planned_afresh(*TINY, *target) for target in ([], ["policies"], ["evaluate"]))
    for start in ("Policy of", "Action decoders", "Online training", "Latent action model "):
        assert of_kind(trained, start) == of_kind(everything, start) != set()
    assert not kinds(trained) & {"Rollouts of", "Plot of", "Film of", "Summary over", "Summary of"}
    assert of_kind(played, "Rollouts of") == of_kind(everything, "Rollouts of") != set()
    assert "Summary over all agents" in played and not kinds(played) & {"Plot of", "Film of"}


@pytest.mark.slow
def test_what_plays_more_needs_more(checkout: Path, planned: Plan) -> None:
    """Policies that play in training wait for their decoders; levels of the demonstrations are those of their store."""
    policy = "results/tiny/policies/xland-r1-9x9/lapo/seed0/policy.safetensors"
    returns = "results/tiny/evaluation/xland-doorkey-5x5-full/random/seed0/returns.csv"
    more = "evaluation={during_training: 2, splits: [train, test]}"
    jobs = planned(checkout, *TINY, policy, returns, "--config", more)
    assert "Action decoders of lapo on xland-r1-9x9, seed 0" in jobs
    assert "Episodes of xland-r1-9x9, test split" in jobs
    assert "Episodes of xland-doorkey-5x5-full, train split" in jobs
