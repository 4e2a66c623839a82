"""Statistics: closed forms, agreement with rliable, coverage of the hierarchical intervals."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from rliable import metrics as rliable_metrics

from lamflow.evaluation import statistics
from lamflow.evaluation.statistics import Resampled


@pytest.fixture
def rliable(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """rliable's bootstrap. The version of arch that it needs fails to import with pandas 3, in parts that rliable does not use:
    here the package is found, but only its submodule ``bootstrap`` is imported."""
    spec = importlib.util.find_spec("arch")
    assert spec is not None and spec.submodule_search_locations is not None
    package = ModuleType("arch")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "arch", package)
    return importlib.import_module("rliable.library")


def scores_of_runs(num_runs: int = 9, num_tasks: int = 4, seed: int = 0) -> NDArray[np.float64]:
    """Scores [runs, tasks] as rliable takes them."""
    rng = np.random.default_rng(seed)
    return rng.beta(2, 1.5, size=(num_runs, num_tasks)) + np.linspace(0, 0.4, num_tasks)


def as_strata(scores: NDArray[np.float64], *, samples: int) -> list[Resampled]:
    """Runs as seeds with one label draw and one episode: the case that rliable covers."""
    return [
        statistics.resample(task[:, None, None], samples=samples, seed=(7, index))
        for index, task in enumerate(scores.T)
    ]


def test_normalized_return_is_zero_for_random_and_one_for_the_demonstrator() -> None:
    found = statistics.normalized_return([-2.0, 3.0, 8.0], random=-2.0, expert=8.0)
    np.testing.assert_allclose(found, [0, 0.5, 1])


@pytest.mark.parametrize(("random", "expert"), [(1.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_normalized_return_refuses_references_it_cannot_divide_by(random: float, expert: float) -> None:
    with pytest.raises(ValueError, match=r"random .* expert"):
        statistics.normalized_return([0.5], random=random, expert=expert)


def test_interquartile_mean_of_a_range_leaves_out_a_quarter_at_each_end() -> None:
    assert statistics.interquartile_mean(np.arange(8.0)) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert statistics.interquartile_mean(np.array([5.0])) == 5.0


@pytest.mark.parametrize("num_runs", [1, 3, 5, 10])
def test_point_estimates_agree_with_rliable(num_runs: int) -> None:
    scores = scores_of_runs(num_runs)
    strata = list(scores.T)
    assert statistics.stratified_mean(strata) == pytest.approx(rliable_metrics.aggregate_mean(scores))
    assert statistics.stratified_iqm(strata) == pytest.approx(rliable_metrics.aggregate_iqm(scores))


def test_probability_of_improvement_agrees_with_rliable_and_counts_ties_half() -> None:
    ours, theirs = scores_of_runs(9, seed=1).round(1), scores_of_runs(7, seed=2).round(1)
    found = statistics.probability_of_improvement(list(ours.T), list(theirs.T))
    assert found == pytest.approx(rliable_metrics.probability_of_improvement(ours, theirs))
    assert statistics.probability_of_improvement([np.ones(3)], [np.ones(5)]) == 0.5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (statistics.stratified_mean, rliable_metrics.aggregate_mean),
        (statistics.stratified_iqm, rliable_metrics.aggregate_iqm),
    ],
)
def test_intervals_agree_with_rliable_where_it_applies(
    rliable: ModuleType, ours: statistics.Aggregate, theirs: Callable[[NDArray[np.float64]], float]
) -> None:
    scores = scores_of_runs()
    found = statistics.estimate(ours, as_strata(scores, samples=20_000))
    np.random.seed(0)  # noqa: NPY002 (rliable draws from the global generator)
    values, intervals = rliable.get_interval_estimates(
        {"method": scores}, lambda x: np.array([theirs(x)]), method="percentile", reps=5_000
    )
    low, high = intervals["method"][:, 0]
    assert found.value == pytest.approx(values["method"][0])
    tolerance = 0.05 * (high - low)
    assert found.low == pytest.approx(low, abs=tolerance)
    assert found.high == pytest.approx(high, abs=tolerance)


def test_estimates_repeat_with_the_same_seed_and_differ_with_another() -> None:
    stratum = np.random.default_rng(0).random((3, 2, 20))
    first, again, other = (statistics.resample(stratum, samples=500, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.resamples, again.resamples)
    assert (first.resamples != other.resamples).any()


def test_resampling_in_blocks_bounds_memory_and_keeps_the_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_DRAWN", 100)
    found = statistics.resample(np.random.default_rng(0).random((2, 2, 10)), samples=7, seed=0)
    assert found.resamples.shape == (7, 4)


def test_resamples_have_the_variance_of_seeds_draws_and_episodes() -> None:
    """Variance of the mean over agents: each level adds its (population) variance over the number of independent draws."""
    rng = np.random.default_rng(3)
    num_seeds, num_draws, num_episodes = 4, 3, 50
    stratum = rng.normal(0, 2, (num_seeds, 1, 1)) + rng.normal(0, 1, (num_seeds, num_draws, 1))
    stratum = stratum + rng.normal(0, 3, (num_seeds, num_draws, num_episodes))
    agents = stratum.mean(2)
    expected = agents.mean(1).var() / num_seeds
    expected += agents.var(1).mean() / (num_seeds * num_draws)
    expected += stratum.var(2).mean() / (num_seeds * num_draws * num_episodes)
    found = statistics.resample(stratum, samples=40_000, seed=0).resamples.mean(1).var()
    assert found == pytest.approx(expected, rel=0.05)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Eight seeds with a known mean: the percentile interval is a little short with few seeds, so 85 to 99 of 100."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        stratum = rng.normal(0, 1, (8, 1, 1)) + rng.normal(0, 1, (8, 2, 30))
        found = statistics.estimate(statistics.stratified_mean, [statistics.resample(stratum, samples=400, seed=trial)])
        covered += found.low <= 0 <= found.high
    assert 0.85 <= covered / 200 <= 0.99


def test_interval_of_a_single_seed_comes_from_its_episodes() -> None:
    stratum = np.tile([0.0, 1.0], 50)[None, None]
    found = statistics.estimate(statistics.stratified_mean, [statistics.resample(stratum, samples=4000, seed=0)])
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.4, 0.6), abs=0.015)


def test_improvement_of_a_clearly_better_method_is_certain() -> None:
    rng = np.random.default_rng(0)
    better = [statistics.resample(0.9 + 0.01 * rng.random((3, 2, 10)), samples=200, seed=0)]
    worse = [statistics.resample(0.1 + 0.01 * rng.random((3, 2, 10)), samples=200, seed=1)]
    found = statistics.estimate_improvement(better, worse)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_profile_is_the_share_of_agents_above_each_threshold() -> None:
    strata = [statistics.resample(np.array([0.1, 0.5, 0.9, 0.9])[:, None, None], samples=50, seed=0),
              statistics.resample(np.array([0.5])[:, None, None], samples=50, seed=1)]  # fmt: skip
    found = statistics.estimate_profile(strata, np.array([0.0, 0.1, 0.5, 0.7, 0.9]))
    np.testing.assert_allclose(found.value, [1, (0.75 + 1) / 2, (0.5 + 0) / 2, (0.5 + 0) / 2, 0])
    assert (found.low <= found.value).all() and (found.value <= found.high).all()
    assert (found.low[0], found.high[0], found.low[-1], found.high[-1]) == (1, 1, 0, 0)


def test_profiles_agree_with_rliable_where_it_applies(rliable: ModuleType) -> None:
    scores, thresholds = scores_of_runs(), np.linspace(0, 1.4, 8)
    found = statistics.estimate_profile(as_strata(scores, samples=20_000), thresholds)
    np.random.seed(0)  # noqa: NPY002 (rliable draws from the global generator)
    values, bands = rliable.create_performance_profile({"method": scores}, thresholds, reps=5_000)
    np.testing.assert_allclose(found.value, values["method"])
    # Fractions of 36 runs: an end of an interval may be one run off.
    np.testing.assert_allclose([found.low, found.high], bands["method"], atol=1.01 / scores.size)


def test_a_paired_difference_is_the_bootstrap_of_the_episodes_differences() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((2, 4, 3, 20))
    sides = [statistics.resample(stratum, samples=300, seed=5) for stratum in (ours, theirs)]
    found, expected = statistics.difference(*sides), statistics.resample(ours - theirs, samples=300, seed=5)
    np.testing.assert_allclose(found.scores, expected.scores)
    np.testing.assert_allclose(found.resamples, expected.resamples, atol=1e-12)
    with pytest.raises(
        ValueError, match=r"as many agents and resamples on both sides; found \(300, 12\) and \(300, 3\)"
    ):
        statistics.difference(sides[0], statistics.resample(ours[:1], samples=300, seed=5))


def test_pairs_that_differ_alike_have_no_interval_however_much_seeds_and_levels_differ() -> None:
    theirs = np.random.default_rng(0).normal(0, 5, (4, 3, 20))
    sides = [statistics.resample(stratum, samples=300, seed=5) for stratum in (theirs + 0.25, theirs)]
    found = statistics.estimate(statistics.stratified_mean, [statistics.difference(*sides)])
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_curves_interval_is_that_of_resampled_seeds() -> None:
    """Two seeds: a resample is one of them with a quarter's chance each, else their mean; points are resampled together."""
    curve = np.array([[0.0, 1.0, np.nan], [2.0, 1.0, 1.0]])
    found = statistics.estimate_curve([curve], samples=1000, seeds=[0])
    np.testing.assert_allclose(found.value, [1, 1, np.nan])
    np.testing.assert_allclose(found.low, [0, 1, np.nan])
    np.testing.assert_allclose(found.high, [2, 1, np.nan])


def test_a_curve_over_strata_weighs_each_alike_and_resamples_them_apart() -> None:
    rng = np.random.default_rng(0)
    strata = [rng.normal(0, 1, (40, 3)), rng.normal(4, 1, (10, 3))]
    found = statistics.estimate_curve(strata, samples=4000, seeds=[0, 1])
    np.testing.assert_allclose(found.value, (strata[0].mean(0) + strata[1].mean(0)) / 2)
    deviation = np.sqrt(strata[0].var(0) / 40 + strata[1].var(0) / 10) / 2
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 * deviation, rtol=0.08)


@pytest.mark.parametrize("stratum", [np.zeros((0, 1, 1)), np.zeros((2, 3)), np.full((1, 1, 2), np.nan)])
def test_resample_refuses_what_is_no_stratum(stratum: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="expected"):
        statistics.resample(stratum, samples=10, seed=0)
