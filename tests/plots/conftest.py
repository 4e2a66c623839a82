"""Tables and checks that the figures' tests share."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lamflow.evaluation.columns import AGGREGATE_COLUMNS, IMPROVEMENT_COLUMNS, PROFILE_COLUMNS
from lamflow.plots.style import save_figure

SvgTexts = Callable[[Figure], list[str]]


@pytest.fixture
def svg_texts(tmp_path: Path) -> SvgTexts:
    """A function that saves a figure as SVG, checks that it is well-formed and returns its texts."""

    def texts(figure: Figure) -> list[str]:
        path = tmp_path / "figure.svg"
        save_figure(figure, path)
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]

    return texts


@pytest.fixture
def aggregate() -> pd.DataFrame:
    """A made-up ``summary/aggregate.csv`` of two environments and all of them."""
    curves = {"lapo": (0.1, 0.4, 0.5), "lapo_codes": (0.5, 0.9, 0.92), "bc": (0.0, 0.1, 0.8)}
    rows = []
    for env in ("xland-doorkey-6x6", "xland-r1-9x9", "all"):
        values = [
            (method, labels, value)
            for method, curve in curves.items()
            for labels, value in zip(("16", "64", "500 trajectories"), curve, strict=True)
        ]
        for method, labels, value in [*values, ("oracle_bc", "all", 0.95), ("random", "0", 0.0)]:
            interval = (value, value - 0.05, value + 0.04)
            success = tuple(max(0.0, share) for share in interval)
            rows.append((env, method, labels, "all", "test", 3, 2, 600, *interval, *interval, *success))
    return pd.DataFrame(rows, columns=list(AGGREGATE_COLUMNS))


@pytest.fixture
def improvement() -> pd.DataFrame:
    """A made-up ``summary/improvement.csv`` of an environment and all; VPT ran on the first alone."""
    chances = {("lapo", "bc"): 0.9, ("lapo_codes", "bc"): 0.95, ("lapo_codes", "lapo"): 0.6}
    chances |= {(baseline, method): 1 - value for (method, baseline), value in chances.items()}
    rows = [
        (env, labels, "test", method, baseline, value, value - 0.05, value + 0.05)
        for env in ("xland-doorkey-6x6", "all")
        for labels in ("16", "64")
        for (method, baseline), value in chances.items()
    ]
    rows += [
        ("xland-doorkey-6x6", "64", "test", "vpt", "bc", 0.7, 0.6, 0.8),
        ("xland-doorkey-6x6", "64", "test", "bc", "vpt", 0.3, 0.2, 0.4),
    ]
    return pd.DataFrame(rows, columns=list(IMPROVEMENT_COLUMNS))


@pytest.fixture
def profile() -> pd.DataFrame:
    """A made-up ``summary/profile.csv`` of two environments and all."""
    thresholds = np.linspace(-0.5, 1.5, 21)
    parts = []
    for env in ("xland-doorkey-6x6", "xland-r1-9x9", "all"):
        for method, labels, middle in (
            ("lapo", "64", 0.6),
            ("bc", "64", 0.2),
            ("random", "0", 0.0),
            ("rl", "online", 0.9),
        ):
            fraction = 1 / (1 + np.exp(10 * (thresholds - middle)))
            numbers = {"threshold": thresholds, "fraction": fraction, "low": 0.9 * fraction, "high": fraction}
            parts.append(pd.DataFrame(numbers).assign(env=env, method=method, labels=labels, split="test"))
    return pd.concat(parts)[list(PROFILE_COLUMNS)]


@pytest.fixture
def metrics() -> Callable[..., pd.DataFrame]:
    """A function that makes up metrics of a LAM's or a policy's runs; its keywords become columns."""

    def make(names: tuple[tuple[str, str], ...], seed: int, **columns: object) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows = [
            (step, split, name, float(np.exp(-step / 500) + 0.1 * rng.random()))
            for split, name in names
            for step in range(0, 1001, 250)
        ]
        return pd.DataFrame(rows, columns=["step", "split", "name", "value"]).assign(seed=seed, **columns)

    return make
