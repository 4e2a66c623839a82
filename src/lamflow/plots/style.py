"""The look that all figures share: colours, sizes, saving. Figures are readable at a width of 700 pixels.

The first colours are Okabe and Ito's, which people with any form of colour blindness can tell apart; methods differ in their markers as
well, and where there are more of them than colours, in dashes. A method looks the same in every figure.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A notebook's variable would name a backend that its kernel has and this interpreter may lack.
os.environ["MPLBACKEND"] = "agg"

import matplotlib

matplotlib.use("agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from lamflow.atomic_files import atomic_path
from lamflow.evaluation.results import EVERY_ENV

WIDTH = 7.2
"""Width of a figure in inches of 72 points: 691 pixels on a page."""

_LEGEND_CHARACTERS = 84
"""What a legend's row holds, with seven for each line's sample and gap."""

NOTHING_NORMALISED = (
    "The returns of no environment can be normalised.\nThe table of returns says why and has the raw ones."
)

MOST_METHODS = 12
"""Of more methods a figure with a line each shows all environments together alone, or it would be taller than a page."""

INK = "#222222"
MUTED = "#767676"
FAINT = "#d9d9d9"

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#B0508E", "#C98500", "#3A9BD0"

PUBLISHED: dict[str, Any] = {
    "color": MUTED, "marker": "o", "markersize": 5, "markerfacecolor": "none", "markeredgewidth": 1.1, "linestyle": "none",
}  # fmt: skip
"""How values that others published are drawn: hollow and grey."""

RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "lamflow",
    "savefig.dpi": 150,
}

_OF_THE_PROCESS = {"backend", "backend_fallback", "interactive", "toolbar", "timezone"}
"""Options that do not say how a figure looks."""

ACTION_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#999999", "#7B3294", "#B2DF8A",
                 "#FB9A99", "#6A3D9A", "#1B9E77", "#A6761D")  # fmt: skip


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn: ``label`` in legends, ``reference`` for the horizontal lines (ceiling and floor), ``dashes`` of its line."""

    label: str
    color: str
    marker: str
    reference: bool = False
    dashes: tuple[float, ...] = ()


_KNOWN = {
    "oracle_bc": MethodStyle("oracle BC (all labels)", "#333333", "", reference=True, dashes=(5, 2)),
    "oracle_bc_egocentric": MethodStyle("oracle BC, egocentric", "#333333", "", reference=True, dashes=(2, 1)),
    "random": MethodStyle("random", "#8a8a8a", "", reference=True, dashes=(1.2, 1.8)),
    "lapo": MethodStyle("LAPO", BLUE, "o"),
    "bc": MethodStyle("BC", VERMILLION, "s"),
    "vpt": MethodStyle("VPT", GREEN, "^"),
    "lapo_codes": MethodStyle("LAPO codes", PURPLE, "D"),
    "lapo_rl_sl": MethodStyle("LAPO RL + SL", ORANGE, "v"),
    "lapo_rl": MethodStyle("LAPO RL", SKY, "P"),
    "ppo_scratch": MethodStyle("PPO from scratch", "#7F5A2A", "X"),
}
_ACRONYMS = {"lapo": "LAPO", "bc": "BC", "vpt": "VPT"}
_FREE = (
    ("#5B5BD6", "<"),
    ("#C0392B", ">"),
    ("#00707A", "p"),
    ("#7A7A00", "h"),
    ("#E377C2", "d"),
    ("#4C9A2A", "8"),
    ("#274472", "H"),
    ("#F08A5D", "*"),
)
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 1.5), (2.5, 1.2), (6, 1.5, 1.5, 1.5))
"""Of the first names that share the colours, of the second ones, and so on."""


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """A style for each method, references last. Those that this module does not know draw one by their name, so that a method
    keeps its look in figures that show other methods beside it (unless two names draw the same one)."""
    found = sorted(set(names))
    styles = {name: _KNOWN[name] for name in found if name in _KNOWN}
    free: list[int] = []
    rounds = 0
    for name in found:
        if name in _KNOWN:
            continue
        if not free:
            free, rounds = list(range(len(_FREE))), rounds + 1
        drawn = zlib.crc32(name.encode()) % len(_FREE)
        place = min(free, key=lambda place: (place - drawn) % len(_FREE))
        free.remove(place)
        color, _ = _FREE[place]
        marker = _FREE[(place + rounds - 1) % len(_FREE)][1]
        dashes = _DASHES[(rounds - 1) % len(_DASHES)]
        words = (_ACRONYMS.get(word, word) for word in name.split("_"))
        styles[name] = MethodStyle(" ".join(words), color, marker, dashes=dashes)
    return dict(sorted(styles.items(), key=lambda item: (item[1].reference, item[0])))


def in_style() -> AbstractContextManager[None]:
    """The context in which figures are made and saved; a user's matplotlibrc has no part in it."""
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in _OF_THE_PROCESS}
    return matplotlib.rc_context(defaults | RC)  # type: ignore[arg-type]


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure in the shared style, ``width`` x ``height`` inches; call inside ``in_style()``."""
    return Figure(figsize=(width, height), layout="constrained")


def figure_of_text(text: str) -> Figure:
    """What stands in the place of a figure that has nothing to draw: the reason."""
    with in_style():
        figure = new_figure(1.2)
        figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
    return figure


def panel_grid(count: int, *, most_columns: int = 4) -> tuple[int, int]:
    """(rows, columns) for ``count`` panels: up to three in a row, two by two for four, wider grids for more."""
    if count == 4 and most_columns >= 2:
        return 2, 2
    columns = min(count, most_columns, 3 if count <= 9 else 4)
    return -(-count // columns), columns


def set_title(panel: Axes, text: str, columns: int) -> None:
    """Title of a panel, in smaller letters where a grid of ``columns`` panels leaves too little room."""
    panel.set_title(text, fontsize=max(6.5, min(9.5, 9.5 * 66 / columns / max(len(text), 1))))


def legend_columns(labels: Sequence[str]) -> int:
    """Columns of a legend above the panels, filled column by column, such that its rows fit the width and are about equally full."""
    for rows in range(1, len(labels)):
        widths = [max(map(len, labels[start : start + rows])) + 7 for start in range(0, len(labels), rows)]
        if sum(widths) <= _LEGEND_CHARACTERS:
            return len(widths)
    return 1


def legend_height(labels: Sequence[str]) -> float:
    """Inches that a legend of these labels takes beyond two rows, which figures leave room for anyway."""
    rows = -(-len(labels) // legend_columns(labels)) if labels else 0
    return 0.19 * max(0, rows - 2)


def dash(line: Line2D, dashes: Sequence[float]) -> None:
    """Give a line its dashes, if there are any."""
    if dashes:
        line.set_dashes(list(dashes))


def legend_line(color: str, label: str, dashes: Sequence[float], *, width: float) -> Line2D:
    """What stands for a line without markers in a legend."""
    line = Line2D([], [], color=color, linewidth=width, label=label)
    dash(line, dashes)
    return line


def panel_envs(envs: Iterable[str], *, lines: int = 0) -> list[str]:
    """The environments of a figure's panels in order, all of them together last; of more than ``MOST_METHODS`` ``lines`` a panel that one
    alone, if there."""
    found = sorted(set(envs), key=lambda env: (env == EVERY_ENV, env))
    return [EVERY_ENV] if EVERY_ENV in found and lines > MOST_METHODS else found


def hide_unused(axes: Sequence[Axes], used: int) -> None:
    """Blank the panels of a grid that hold nothing."""
    for axis in axes[used:]:
        axis.set_axis_off()


def percent(share: float) -> str:
    """A share in [0, 1] as a whole percentage; one that is not none of it never reads 0%, nor one that is not all 100%."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share:.0%}"


def thousands(axis: Axes) -> None:
    """Few step ticks with a thousands separator on the x axis."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def log_scale(axis: Axes) -> None:
    """A logarithmic y axis whose ticks are plain numbers (0.5, 1, 2, 5) rather than powers."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure in the format of ``path``'s suffix (.svg or .png), atomically; equal figures give equal SVG files."""
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"{path}: figures are written as .svg or .png")
    with in_style(), atomic_path(path) as temporary:
        metadata = {"Date": None, "Creator": "lamflow"} if path.suffix == ".svg" else None
        figure.savefig(temporary, metadata=metadata)
