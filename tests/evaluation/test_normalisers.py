"""Whether two references say enough to normalise by."""

from __future__ import annotations

import re

import pytest

from lamflow.envs.presets import preset, presets
from lamflow.evaluation.normalisers import Normaliser, stored_normaliser
from lamflow.evaluation.references import mean_and_error


@pytest.mark.parametrize(
    ("normaliser", "typical", "problem"),
    [
        (Normaliser(0.5, 0.1), 1.0, r"the demonstrator \(0\.1\) is not above random \(0\.5\)"),
        (Normaliser(0.0, 0.0), 0.0, r"the demonstrator \(0\) is not above random \(0\)"),
        (Normaliser(0.5, 0.6, 0.2), 1.0, r"by no more than the standard error of the difference \(0\.2\)"),
        (Normaliser(0.0, 1e-6), 0.5, r"by 1e-06 alone, less than 0\.001 of the size of returns"),
        (Normaliser(0.5, 0.500001), 0.0, "by 1e-06 alone"),
        (Normaliser(float("nan"), 1.0), 1.0, "are not finite"),
        (Normaliser(-1e308, 1e308), 1.0, "are not finite, or their gap"),
        (Normaliser(0.5, 0.6, 0.05), 1.0, None),
        (Normaliser(-2.5, 29.9), 60.0, None),
    ],
)
def test_a_gap_that_is_turned_or_within_its_error_or_rounding_is_no_normaliser(
    normaliser: Normaliser, typical: float, problem: str | None
) -> None:
    found = normaliser.problem(typical=typical)
    assert (found is None) == (problem is None)
    assert re.search(problem or "", found or "")


def test_the_error_of_a_mean_is_that_of_its_sample_and_unknown_for_a_single_return() -> None:
    mean, error = mean_and_error([0.0, 1.0, 1.0, 0.0])
    assert mean == 0.5
    assert error == pytest.approx((1 / 3) ** 0.5 / 2)
    assert mean_and_error([0.25]) == (0.25, None)


def test_a_store_without_errors_has_a_normaliser_without_one() -> None:
    assert stored_normaliser({"return_random": 0.0, "return_expert": 1.0}) == Normaliser(0.0, 1.0)
    assert stored_normaliser({"return_random": None, "return_expert": 1.0}) is None
    measured = {"return_random": 0.0, "return_expert": 1.0, "return_random_error": 0.3, "return_expert_error": 0.4}
    assert stored_normaliser(measured) == Normaliser(0.0, 1.0, 0.5)


def test_every_published_bound_is_a_normaliser() -> None:
    bounds = {name: preset(name).return_bounds for name in presets()}
    assert {
        name: Normaliser(*pair).problem() for name, pair in bounds.items() if pair and Normaliser(*pair).problem()
    } == {}
