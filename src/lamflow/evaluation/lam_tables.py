"""The table of a run's latent action models with a verdict on each, and what is said of them in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lamflow.lam.verdicts import NEEDED, Finding, judge

RUN_COLUMNS = ("env", "lam", "seed")
VERDICT_COLUMNS = ("verdict", "reason")


def with_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """``summary/lams.csv`` with the columns ``verdict`` and ``reason`` after ``step``, made anew where they are there.

    Both are empty for a model whose losses were not measured.
    """
    metrics = table.drop(columns=[*RUN_COLUMNS, "step", *VERDICT_COLUMNS], errors="ignore").astype(float)
    judged = [_judged({str(name): float(value) for name, value in row.items()}) for _, row in metrics.iterrows()]
    plain = table.drop(columns=list(VERDICT_COLUMNS), errors="ignore")
    place = list(plain.columns).index("step") + 1
    for offset, column in enumerate(VERDICT_COLUMNS):
        plain.insert(place + offset, column, [found[offset] for found in judged])
    return plain


def _judged(metrics: Mapping[str, float]) -> tuple[str, str]:
    if any(pd.isna(metrics.get(name, float("nan"))) for name in NEEDED):
        return "", ""
    verdict = judge(metrics)
    return str(verdict.finding), verdict.reason


def read_lams(path: Path) -> pd.DataFrame:
    """``summary/lams.csv`` of this or an older version, with verdicts; ValueError names the file and what it lacks."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the table `summary/lams.csv` of a run")
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: no readable CSV file ({error}); expected the table `summary/lams.csv` of a run"
        ) from None
    if missing := [column for column in (*RUN_COLUMNS, "step", *NEEDED) if column not in table]:
        raise ValueError(
            f"{path}: missing column(s): {', '.join(missing)}; expected the table `summary/lams.csv` of a run"
        )
    try:
        return with_verdicts(table)
    except ValueError as error:
        raise ValueError(f"{path}: found text where metrics are numbers ({error}); make the table anew") from None


def told(table: pd.DataFrame) -> str:
    """How many models got which verdict, then a line for each LAM, environment and verdict that is not healthy, with the reason of
    the first seed; ``table`` as ``with_verdicts`` answers it."""
    counts = ", ".join(f"{count} {finding}" for finding, count in counted(table).items())
    poor = table[~table["verdict"].isin(["", str(Finding.HEALTHY)])]
    lines = [
        f"  {lam} on {env}, seed {', '.join(map(str, rows['seed']))}: {verdict}. {rows['reason'].iloc[0]}"
        for (lam, env, verdict), rows in poor.groupby(["lam", "env", "verdict"], sort=False)
    ]
    closing = ["  docs/troubleshooting.md says what each of these means."] if lines else []
    return "\n".join([f"Latent action models: {counts}.", *lines, *closing])


def counted(table: pd.DataFrame) -> dict[str, int]:
    """Models by verdict, worst verdict first."""
    counts = Counter(table["verdict"])
    return {str(finding): counts[str(finding)] for finding in Finding if counts[str(finding)]}
