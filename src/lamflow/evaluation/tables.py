"""The table of returns that a paper prints, as CSV, Markdown and LaTeX: methods across, or down where they are more than environments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lamflow.data.label_budgets import REFERENCE_LABELS, LabelBudget
from lamflow.evaluation import statistics
from lamflow.evaluation.csv_text import csv_text
from lamflow.evaluation.results import EVERY_ENV
from lamflow.evaluation.settings import HEADLINE
from lamflow.evaluation.statistics import Estimate
from lamflow.evaluation.summaries import Group, Strata

RETURN, NORMALIZED = "return", "normalized_return"
MEAN_ROW, IQM_ROW = "mean", "IQM"
DECIMALS = 2
_TITLES = {RETURN: "Return", NORMALIZED: "Normalised return"}
_CAPTION = (
    "Means with 95% intervals. {budget}, but for methods marked otherwise. Bold: of the methods with that budget the highest in each "
    "environment, and those whose printed interval reaches it."
)
_BUDGETS = {"0": "no labels", "all": "all labels", "online": "online"}


@dataclass(frozen=True)
class TableRow:
    """One line: ``quantity`` is RETURN or NORMALIZED, ``name`` an environment, MEAN_ROW or IQM_ROW.

    ``cells``: the estimate of each method that has one; ``best``: the methods in bold; ``split``: whose levels were played.
    """

    quantity: str
    name: str
    cells: Mapping[str, Estimate]
    best: frozenset[str]
    split: str = HEADLINE


@dataclass(frozen=True)
class ReturnsTable:
    """``methods``: columns in order, and the label budget of each; ``labels``: the budget at which methods are compared;
    ``left_out``: environments whose returns could not be normalised, with the reasons; ``policy_episodes``: how many episodes the policies
    of methods were trained on where that were not all."""

    labels: str
    methods: Mapping[str, str]
    rows: Sequence[TableRow]
    left_out: Mapping[str, str] = field(default_factory=dict)
    policy_episodes: Mapping[str, str] = field(default_factory=dict)

    def beside(self, other: ReturnsTable, split: str) -> ReturnsTable:
        """With the rows of another table of the same methods below, those of ``split``."""
        return replace(self, rows=[*self.rows, *(replace(row, split=split) for row in other.rows)])


def returns_table(
    strata: Strata,
    references: Mapping[str, tuple[float, float]],
    *,
    labels: str,
    raw: Strata | None = None,
    left_out: Mapping[str, str] | None = None,
) -> ReturnsTable:
    """Raw returns of each environment that was played; then normalised ones, with mean and IQM over all environments (or of the only one)
    that have them.

    Methods with ``labels`` labels come first, then those that have no number of labels. ``references``: returns of random and expert of
    each environment, which take normalised returns back to raw ones. ``left_out``: environments that could not be normalised, with the
    reasons; ``raw`` has their groups, of raw returns, and their normalised cells stay empty.
    """
    raw = {env: groups for env, groups in (raw or {}).items() if env != EVERY_ENV}
    measured = (*strata.values(), *raw.values())
    shown = {
        method: given
        for budgets in measured
        for method, given in sorted(budgets, key=lambda key: (LabelBudget.parse(key[1]), key[0]))
        if given in REFERENCE_LABELS
    }
    compared = sorted({method for budgets in measured for method, given in budgets if given == labels})
    methods = dict.fromkeys(compared, labels) | {name: given for name, given in shown.items() if name not in compared}
    envs = [env for env in strata if env != EVERY_ENV]
    whole = [EVERY_ENV] if EVERY_ENV in strata else envs
    lines: list[tuple[str, str, dict[str, Estimate]]] = []
    for env in envs:
        normalized = _estimates(strata, env, methods, statistics.stratified_mean)
        if env not in references:  # made of others, whose returns are on scales of their own
            lines.append((NORMALIZED, env, normalized))
            continue
        low, high = references[env]
        rescaled = {name: _rescaled(found, low, high - low) for name, found in normalized.items()}
        lines += [(RETURN, env, rescaled), (NORMALIZED, env, normalized)]
    for env in raw:
        lines += [(RETURN, env, _estimates(raw, env, methods, statistics.stratified_mean)), (NORMALIZED, env, {})]
    for env in whole:
        lines.append((NORMALIZED, MEAN_ROW, _estimates(strata, env, methods, statistics.stratified_mean)))
        lines.append((NORMALIZED, IQM_ROW, _estimates(strata, env, methods, statistics.stratified_iqm)))
    rows = [TableRow(*line, best=_best(line[2], compared)) for line in lines]
    return ReturnsTable(
        labels,
        methods,
        sorted(rows, key=lambda row: row.quantity == NORMALIZED),
        left_out or {},
        _policy_episodes(measured, methods),
    )


def _policy_episodes(
    measured: Iterable[Mapping[tuple[str, str], list[Group]]], methods: Iterable[str]
) -> dict[str, str]:
    """How many episodes the policies of each of the ``methods`` were trained on, of those that had not all."""
    found = {
        method: groups[0].policy_episodes
        for budgets in measured
        for (method, _), groups in budgets.items()
        if groups[0].policy_episodes not in ("", "all")
    }
    return {method: found[method] for method in methods if method in found}


def _estimates(
    strata: Strata, env: str, methods: Mapping[str, str], aggregate: statistics.Aggregate
) -> dict[str, Estimate]:
    found = {name: strata[env].get((name, given)) for name, given in methods.items()}
    return {
        name: statistics.estimate(aggregate, [group.normalized for group in groups])
        for name, groups in found.items()
        if groups
    }


def _rescaled(found: Estimate, offset: float, scale: float) -> Estimate:
    value, *ends = (offset + scale * number for number in (found.value, found.low, found.high))
    return Estimate(value, min(ends), max(ends))


def _best(cells: Mapping[str, Estimate], compared: Sequence[str]) -> frozenset[str]:
    """The compared method with the highest estimate, and those whose interval reaches it, to the decimals that are printed."""
    found = {name: cells[name] for name in compared if name in cells}
    highest = round(max((cell.value for cell in found.values()), default=0.0), DECIMALS)
    return frozenset(name for name, cell in found.items() if round(cell.high, DECIMALS) >= highest)


def to_csv(table: ReturnsTable) -> str:
    """Columns quantity, row, split, and for each method its value, ``<method>_low`` and ``<method>_high``; empty where it has none."""
    columns = ["quantity", "row", "split", *(f"{name}{end}" for name in table.methods for end in ("", "_low", "_high"))]
    rows = []
    for row in table.rows:
        cells = [row.cells.get(name) for name in table.methods]
        numbers = [[cell.value, cell.low, cell.high] if cell else ["", "", ""] for cell in cells]
        flat = [f"{number:.6g}" if isinstance(number, float) else number for cell in numbers for number in cell]
        rows.append([row.quantity, row.name, row.split, *flat])
    return csv_text(columns, rows)


def to_markdown(table: ReturnsTable) -> str:
    """A Markdown table a quantity and split, with a caption above."""
    parts = [_caption(table.labels), *_notes(table)]
    for title, rows in _parts(table).items():
        heads, lines = _grid(table, rows, bold="**{}**".format, interval="[{}, {}]".format, missing="")
        parts.append(
            "\n".join(
                [
                    "| " + " | ".join([title, *heads]) + " |",
                    "|---" + "|---:" * len(heads) + "|",
                    *("| " + " | ".join([name, *cells]) + " |" for name, cells in lines),
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def to_latex(table: ReturnsTable) -> str:
    """A LaTeX ``table`` as wide as the text, with rules of the package booktabs."""
    grids = {
        title: _grid(
            table,
            rows,
            bold=r"\textbf{{{}}}".format,
            interval=r"{{\scriptsize [{}, {}]}}".format,
            missing="--",
            latex=True,
        )
        for title, rows in _parts(table).items()
    }
    widest = max(len(heads) for heads, _ in grids.values())
    lines = [
        r"% \usepackage{booktabs, graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(' '.join([_caption(table.labels), *_notes(table)]))}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * widest}}}",
        r"\toprule",
    ]
    for place, (title, (heads, rows)) in enumerate(grids.items()):
        lines += [r"\midrule"] if place else []
        empty = [""] * (widest - len(heads))
        lines += [" & ".join([title, *map(_escaped, heads), *empty]) + r" \\", r"\midrule"]
        for name, cells in rows:
            if name == MEAN_ROW:
                lines.append(r"\midrule")
            lines.append(" & ".join([_escaped(name), *cells, *empty]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])


def _parts(table: ReturnsTable) -> dict[str, list[TableRow]]:
    """The rows of each quantity and split, by their title."""
    parts = {}
    for split in dict.fromkeys(row.split for row in table.rows):
        levels = "" if split == HEADLINE else f", {split} levels"
        for quantity, title in _TITLES.items():
            parts[f"{title}{levels}"] = [row for row in table.rows if (row.quantity, row.split) == (quantity, split)]
    return parts


def _grid(
    table: ReturnsTable,
    rows: Sequence[TableRow],
    *,
    bold: Callable[[str], str],
    interval: Callable[[str, str], str],
    missing: str,
    latex: bool = False,
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Heads of the columns, and names and cells of the rows, of one quantity and split."""

    def printed(number: float) -> str:
        text = f"{number:z.{DECIMALS}f}"
        return text.replace("-", "$-$") if latex else text

    def text(row: TableRow, method: str) -> str:
        cell = row.cells.get(method)
        if cell is None:
            return missing
        value = printed(cell.value)
        return f"{bold(value) if method in row.best else value} {interval(printed(cell.low), printed(cell.high))}"

    names = {method: _heading(method, given, table.labels) for method, given in table.methods.items()}
    if len(table.methods) > sum((row.quantity, row.split) == (RETURN, HEADLINE) for row in table.rows):
        down = [(name, [text(row, method) for row in rows]) for method, name in names.items()]
        return [row.name for row in rows], down
    return list(names.values()), [(row.name, [text(row, method) for method in names]) for row in rows]


def _heading(name: str, given: str, labels: str) -> str:
    return name if given == labels else f"{name} ({_BUDGETS[given]})"


def _caption(labels: str) -> str:
    return _CAPTION.format(budget=labels[:1].upper() + labels[1:] + ("" if " " in labels else " labels"))


def _notes(table: ReturnsTable) -> list[str]:
    """A sentence for each environment that could not be normalised, for whose beginning the report looks, and for each method whose
    policies were trained on a part of the episodes."""
    return [
        *(f"Not normalised: {env}, as {problem}." for env, problem in table.left_out.items()),
        *(f"Policies of {method}: trained on {count} episodes." for method, count in table.policy_episodes.items()),
    ]


def _escaped(text: str) -> str:
    """``text`` with LaTeX's special characters escaped (names of methods and environments have underscores)."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)
