"""The look that all figures share: colours, sizes, saving. Figures are readable at a width of 700 pixels.

The palette is Okabe and Ito's, which people with any form of colour blindness can tell apart; methods differ in their markers as
well. A method has the same colour in every figure.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from lamflow.provenance import atomic_path

WIDTH = 7.2
"""Width of a figure in inches of 72 points: 691 pixels on a page."""

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

ACTION_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#999999", "#7B3294", "#B2DF8A",
                 "#FB9A99", "#6A3D9A", "#1B9E77", "#A6761D")  # fmt: skip


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn: ``label`` in legends, ``reference`` for the horizontal lines (ceiling and floor)."""

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
}
_FREE = (
    (ORANGE, "v"),
    (SKY, "P"),
    ("#7F5A2A", "X"),
    ("#5B5BD6", "<"),
    ("#C0392B", ">"),
    ("#00707A", "p"),
    ("#7A7A00", "h"),
)


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """A style for each method, references last. Those that this module does not know draw one by their name, so that a method
    keeps its look in figures that show other methods beside it (unless two names draw the same one)."""
    found = sorted(set(names))
    styles = {name: _KNOWN[name] for name in found if name in _KNOWN}
    taken: set[int] = set()
    for name in found:
        if name in _KNOWN:
            continue
        drawn = zlib.crc32(name.encode()) % len(_FREE)
        free = [place for place in range(len(_FREE)) if place not in taken] or list(range(len(_FREE)))
        place = min(free, key=lambda place: (place - drawn) % len(_FREE))
        taken.add(place)
        color, marker = _FREE[place]
        styles[name] = MethodStyle(name.replace("_", " "), color, marker)
    return dict(sorted(styles.items(), key=lambda item: (item[1].reference, item[0])))


def in_style() -> AbstractContextManager[None]:
    """The context in which figures are made and saved."""
    return matplotlib.rc_context(RC)  # type: ignore[arg-type]


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure in the shared style, ``width`` x ``height`` inches; call inside ``in_style()``."""
    return Figure(figsize=(width, height), layout="constrained")


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
    """Columns of a legend above the panels, such that its rows fit the width and are about equally full."""
    rows = -(-sum(len(label) + 7 for label in labels) // 84)
    return -(-len(labels) // rows)


def hide_unused(axes: Sequence[Axes], used: int) -> None:
    """Blank the panels of a grid that hold nothing."""
    for axis in axes[used:]:
        axis.set_axis_off()


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
