"""What every widget shares: running the reader's functions, and showing what came of it."""

import asyncio
import base64
import html
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from IPython.display import Image, display
from ipywidgets import HTML, HBox, Layout, ValueWidget, VBox
from matplotlib.figure import Figure
from torch import Tensor

from course.reader import is_unsolved
from course.widgets.style import VERMILLION, WIDTH_PX, to_png

_STILL_SECONDS = 0.1


class ReaderError(Exception):
    """What keeps a function that the reader wrote from being shown, as a sentence."""


def run(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function the reader wrote, with its warnings kept quiet.

    Raises ReaderError, with a sentence that names the function `name`, where it raises anything.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except Exception as error:
        if is_unsolved(error):
            raise ReaderError(f"{name} is not solved yet.") from None
        reason = str(error).strip().partition("\n")[0]
        raise ReaderError(f"{name} raised {type(error).__name__}: {reason}.") from error


def as_tensor(name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
    """The value in float64, without its gradient.

    Raises ReaderError where it is no real tensor of the shape. NaN and infinity pass: they can be
    drawn beside the truth; `not_finite` says how many there are.
    """
    if not isinstance(value, Tensor):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise ReaderError(f"{name} returned {kind} where a tensor was expected.")
    if tuple(value.shape) != shape:
        raise ReaderError(
            f"{name} returned the shape {tuple(value.shape)} where {shape} was expected."
        )
    if value.is_complex():
        raise ReaderError(f"{name} returned complex numbers where real ones were expected.")
    return value.detach().double()


def note(problems: list[str], error: ReaderError) -> None:
    """Add the sentence, unless one on the same function is there: a sentence begins with a name."""
    sentence = str(error)
    known = {problem.split()[0].strip(",:") for problem in problems}
    if sentence.split()[0].strip(",:") not in known:
        problems.append(sentence)


def not_finite(name: str, value: Tensor) -> list[str]:
    """One sentence if some of the numbers are NaN or infinite, none otherwise."""
    share = 1 - value.isfinite().double().mean().item()
    if share == 0:
        return []
    return [f"{name} leads to NaN or infinity in {percent(share)} of the numbers computed with it."]


def times(factor: float) -> str:
    """A factor in words, to three digits: "0.0916 times", "4.07 times", "5.6e+03 times"."""
    if not math.isfinite(factor):
        return "NaN times" if math.isnan(factor) else "infinitely many times"
    return f"{factor:.3g} times" if abs(factor) < 1000 else f"{factor:.1e} times"


def percent(share: float) -> str:
    """A share in words: 0.0312 is "3.1 %"; from a thousand per cent on, "12 times"."""
    if math.isnan(share):
        return "NaN"
    if abs(share) >= 10:
        return times(share)
    if 0 < abs(share) < 5e-4:
        return "less than 0.1 %"
    return f"{100 * share:.{0 if abs(share) >= 0.1 or share == 0 else 1}f} %"


@dataclass(kw_only=True)
class Exhibit(ABC):
    """What a computation found out, with the figure of it and the sentence that says the same.

    As the last line of a notebook cell it shows both. `problems` says in sentences what was wrong
    with the reader's functions.
    """

    problems: list[str] = field(default_factory=list)

    @abstractmethod
    def draw(self) -> Figure:
        """The figure."""

    @abstractmethod
    def findings(self) -> str:
        """What the figure shows, in words and computed numbers."""

    def sentence(self) -> str:
        """The problems, then the findings, on one line."""
        return " ".join([*self.problems, self.findings()])

    def _ipython_display_(self) -> None:
        sentence = self.sentence()
        display(Image(to_png(self.draw()), width=WIDTH_PX, alt=sentence))
        # As HTML the sentence is wrapped between words.
        display({"text/plain": sentence, "text/html": f"<p>{html.escape(sentence)}</p>"}, raw=True)


def labelled(control: type[ValueWidget], label: str, **settings: Any) -> ValueWidget:
    """A control whose label is not cut off, and which reports a value once it is let go."""
    if "continuous_update" in control.class_trait_names():
        settings["continuous_update"] = False
    return control(
        description=label,
        style={"description_width": "initial"},
        layout=Layout(width="420px"),
        **settings,
    )


def explorer(compute: Callable[..., Exhibit], **controls: ValueWidget) -> VBox:
    """A widget of controls, a sentence and a figure; `compute` gets the controls' values by name.

    A change of any control computes and draws anew.
    """
    sentence, figure = HTML(), HTML()

    def update() -> None:
        exhibit = compute(**{name: control.value for name, control in controls.items()})
        figure.value = (
            f'<img style="width: {WIDTH_PX}px; max-width: 100%" '
            f'alt="{html.escape(exhibit.sentence())}" '
            f'src="data:image/png;base64,{base64.b64encode(to_png(exhibit.draw())).decode()}">'
        )
        warning = "".join(
            f'<p style="border-left: 5px solid {VERMILLION}; padding-left: 8px">'
            f"<b>{html.escape(problem)}</b></p>"
            for problem in exhibit.problems
        )
        sentence.value = f"{warning}<p>{html.escape(exhibit.findings())}</p>"

    pending: list[asyncio.TimerHandle] = []

    def update_when_still(_: Any) -> None:
        # A key that is held changes a slider faster than a figure is drawn: draw the last value.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            update()
            return
        while pending:
            pending.pop().cancel()
        pending.append(loop.call_later(_STILL_SECONDS, update))

    for control in controls.values():
        control.observe(update_when_still, names="value")
    update()
    rows = HBox(list(controls.values()), layout=Layout(flex_flow="row wrap"))
    return VBox([rows, sentence, figure], layout=Layout(max_width=f"{WIDTH_PX + 20}px"))
