"""The look of every figure of the course: made to be read at 900 pixels' width, by all readers.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), which colour-blind readers
tell apart; a series also differs from the next in marker and dash, never by colour alone.
"""

from collections.abc import Callable
from functools import wraps
from io import BytesIO
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

Look = dict[str, Any]
"""How matplotlib is to draw something: keyword arguments."""

WIDTH_PX = 900
BLACK, GREY = "#000000", "#8C8C8C"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

# What a colour means is the same in every figure.
TRUTH: Look = {"color": GREY, "linewidth": 5, "alpha": 0.55, "solid_capstyle": "round"}
SERIES: list[Look] = [
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": PURPLE, "marker": "D", "linestyle": (0, (1, 1))},
    {"color": ORANGE, "marker": "v", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    {"color": SKY, "marker": "X", "linestyle": (0, (8, 2))},
]

_INCH_PX = 100  # an inch of figure is shown as so many pixels, so 11 pt is 15 pixels high
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11.5,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.dpi": _INCH_PX,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "grid.color": "#E4E4E4",
    "image.cmap": "viridis",
    "legend.fontsize": 10,
    "legend.framealpha": 0.9,
    "lines.linewidth": 2,
    "lines.markersize": 6,
    "savefig.dpi": 1.6 * _INCH_PX,  # sharp on screens with more dots than pixels
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a function draw in the course's style and leave matplotlib's settings as they were."""

    @wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return draw_in_style


def new_figure(height: float) -> Figure:
    """A figure of the course's width and `height` inches, which pyplot does not keep alive."""
    return Figure(figsize=(WIDTH_PX / _INCH_PX, height), layout="constrained")


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG image."""
    buffer = BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def write_in_place(axes: Axes, text: str, y: float = 0.5) -> None:
    """Say in words, at the height `y` of 1 in `axes`, why nothing is drawn there."""
    style: Look = {"ha": "center", "va": "center", "color": VERMILLION, "fontweight": "bold"}
    axes.text(0.6, y, text, transform=axes.transAxes, **style)
