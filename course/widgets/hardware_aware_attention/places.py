"""Where the arrays of attention lie at a step of a run, entry by entry, and the drawing of it."""

import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import SubFigure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from course.tile_run import Step, Tiles
from course.widgets.style import BLACK, ORANGE, SKY, Look

# What an entry of an array is at a step, and how it looks.
NOWHERE, DROPPED, IN_HBM, ON_CHIP = range(4)
_LOOKS = {NOWHERE: "white", DROPPED: "#D0D0D0", IN_HBM: SKY, ON_CHIP: ORANGE}
_READ, _WRITTEN = "///", "..."

ARRAYS = "QKVSPOL"
# A row of Q, K, V, O or L moves as a whole: it is drawn with this width, in tokens. The width has
# nothing to do with d, so that the text beside the arrays is legible.
_WIDTH, _LOGSUMEXP_WIDTH, _GAP = 8, 2, 6


def whereabouts(steps: list[Step], number: int) -> dict[str, Tensor]:
    """What each entry of each array is at step `number` (from 1): NOWHERE to ON_CHIP.

    S and P are (n, n). Q, K, V, O and L are (n, 1): their rows move as a whole.
    """
    n = len(steps[0].output)
    found = {name: torch.full((n, n if name in "SP" else 1), NOWHERE) for name in ARRAYS}
    for name in "QKV":
        found[name][:] = IN_HBM

    def mark(tiles: Tiles, what: int) -> None:
        for name, where in tiles.items():
            part = found[name][tuple(slice(indices.start, indices.stop) for indices in where)]
            part[part < what] = what

    for step in steps[: number - 1]:
        mark(step.in_sram, DROPPED)
    for step in steps[:number]:
        mark(step.written, IN_HBM)
    mark(steps[number - 1].in_sram, ON_CHIP)
    return found


def draw_places(axes: Axes, steps: list[Step], number: int) -> None:
    """The arrays as boxes, coloured by where they lie, with what was moved in this step hatched."""
    n = len(steps[0].output)
    places = whereabouts(steps, number)
    if not any("L" in step.written for step in steps):
        del places["L"]
    look: Look = {
        "cmap": ListedColormap(list(_LOOKS.values())),
        "vmin": NOWHERE,
        "vmax": ON_CHIP,
        "interpolation": "nearest",
    }
    for name, place in places.items():
        x, y, width, height = _box(n, name, range(n), range(n))
        image = place.mT if name in "KV" else place
        axes.imshow(image.numpy(), extent=(x, x + width, y + height, y), **look)
        axes.add_patch(Rectangle((x, y), width, height, fill=False, lw=0.8))
        label = {"K": "Kᵀ", "V": "Vᵀ"}.get(name, name)
        axes.text(x + width / 2, y - 0.8, label, ha="center", va="bottom", fontsize=11)
    step = steps[number - 1]
    for tiles, hatch in [(step.read, _READ), (step.written, _WRITTEN)]:
        for name, where in tiles.items():
            x, y, width, height = _box(n, name, *where)
            axes.add_patch(Rectangle((x, y), width, height, fill=False, hatch=hatch, lw=1.2))

    ticks = range(0, n, n // 4)
    (s_left, top), (p_left, _) = _corner(n, "S"), _corner(n, "P")
    axes.set_xticks([left + tick for left in (s_left, p_left) for tick in ticks], 2 * [*ticks])
    axes.set_yticks([top + tick for tick in ticks], [*ticks])
    right = _corner(n, "L")[0] + _LOGSUMEXP_WIDTH
    axes.set(xlabel="key", ylabel="query", aspect="equal")
    axes.set(xlim=(-1, right + 1), ylim=(top + n + 1, -_GAP))
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def draw_legend(figure: SubFigure) -> None:
    """What the colours and hatches of `draw_places` mean, in one line below."""
    colours = {IN_HBM: "in HBM", ON_CHIP: "on the chip", DROPPED: "computed, then dropped"}
    handles = [
        Patch(facecolor=_LOOKS[what], edgecolor=BLACK, lw=0.5, label=label)
        for what, label in colours.items()
    ]
    for hatch, label in [(_READ, "read in this step"), (_WRITTEN, "written in this step")]:
        handles.append(Patch(facecolor=ORANGE, hatch=hatch, label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _corner(n: int, name: str) -> tuple[int, int]:
    """The upper left corner (x, y) of an array, in tokens; K and V lie above, transposed."""
    s_left = _WIDTH + _GAP
    p_left = s_left + n + _GAP
    o_left = p_left + n + _GAP
    left = {"Q": 0, "O": o_left, "L": o_left + _WIDTH + 2}
    left |= dict.fromkeys("KS", s_left) | dict.fromkeys("VP", p_left)
    return left[name], 0 if name in "KV" else _WIDTH + _GAP


def _box(
    n: int, name: str, rows: range, columns: range = range(0)
) -> tuple[float, float, float, float]:
    """Where a tile is drawn: x, y, width, height. Only tiles of S and P have columns."""
    x, y = _corner(n, name)
    if name in "KV":
        return x + rows.start, y, len(rows), _WIDTH
    if name in "SP":
        return x + columns.start, y + rows.start, len(columns), len(rows)
    return x, y + rows.start, _LOGSUMEXP_WIDTH if name == "L" else _WIDTH, len(rows)
