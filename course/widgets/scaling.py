"""Time against sequence length: exponents, and where one method overtakes another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from course.measure import scaling_exponent
from course.widgets.exhibit import Exhibit, times
from course.widgets.style import BLACK, SERIES, new_figure, styled


def crossover(sizes: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float | None:
    """The size from which on b costs less than a, interpolated in log–log between two sizes.

    None if b costs less at every size, or does not at the largest. Costs are positive.
    """
    lead = [math.log(x / y) for x, y in zip(a, b, strict=True)]  # above 0 where b costs less
    behind = [i for i, value in enumerate(lead) if value <= 0]
    if not behind or behind[-1] == len(lead) - 1:
        return None
    i = behind[-1]
    share = lead[i] / (lead[i] - lead[i + 1])
    return sizes[i] * (sizes[i + 1] / sizes[i]) ** share


@dataclass(kw_only=True)
class Scaling(Exhibit):
    """Seconds against size for each method; `overtakes` names (the method overtaken, by which)."""

    sizes: list[int]
    seconds: dict[str, list[float]]
    overtakes: tuple[str, str]

    @property
    def fitted_sizes(self) -> list[int]:
        """The upper half of the sizes, where fixed costs no longer hide the law."""
        return self.sizes[len(self.sizes) // 2 :] if len(self.sizes) > 3 else self.sizes

    def exponent(self, method: str) -> float:
        """The slope in log–log over `fitted_sizes`."""
        start = len(self.sizes) - len(self.fitted_sizes)
        return scaling_exponent(self.fitted_sizes, self.seconds[method][start:])

    def crossover(self) -> float | None:
        """See the function of that name, for the two methods of `overtakes`."""
        return crossover(self.sizes, *(self.seconds[method] for method in self.overtakes))

    def findings(self) -> str:
        """The exponents, and from which n the second method is faster than the first."""
        fits = ", ".join(f"{method} n^{self.exponent(method):.2f}" for method in self.seconds)
        first, second = self.overtakes
        n = self.crossover()
        last = times(self.seconds[first][-1] / self.seconds[second][-1])
        if n is not None:
            told = f"{second} overtakes {first} at n ≈ {n:.0f}"
        elif self.seconds[second][-1] < self.seconds[first][-1]:
            told = f"{second} is faster than {first} at every n measured"
        else:
            told = f"{second} does not overtake {first} up to n = {self.sizes[-1]}"
        return (
            f"From n = {self.fitted_sizes[0]} on, time grows as {fits}. In these runs {told}. "
            f"At n = {self.sizes[-1]}, {first} takes {last} as long as {second}."
        )

    @styled
    def draw(self) -> Figure:
        """Time against n, log–log, with the exponents in the legend and the crossover marked."""
        figure = new_figure(height=4.5)
        axes = figure.subplots()
        for style, (method, seconds) in zip(SERIES, self.seconds.items(), strict=False):
            label = f"{method}: $n^{{{self.exponent(method):.2f}}}$"
            axes.plot(self.sizes, [1e3 * value for value in seconds], label=label, **style)
        if (n := self.crossover()) is not None:
            label = f"{self.overtakes[1]} overtakes: n ≈ {n:.0f}"
            axes.axvline(n, color=BLACK, lw=1, ls=":", label=label)
        axes.set(xlabel="sequence length n (tokens)", ylabel="time (ms)")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(self.sizes, [str(size) for size in self.sizes])
        axes.minorticks_off()
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return figure


def scaling(
    sizes: Sequence[int], seconds: dict[str, Sequence[float]], overtakes: tuple[str, str]
) -> Scaling:
    """Show measured times, as `course.measure.fastest_seconds` gives them for each size.

    seconds[method] has one entry for each of `sizes`. Raises ValueError where it does not, or
    where `overtakes` names a method that was not measured.
    """
    for method, values in seconds.items():
        if len(values) != len(sizes):
            raise ValueError(f"{method} has {len(values)} times for {len(sizes)} sizes")
    if unknown := set(overtakes) - set(seconds):
        raise ValueError(f"not measured: {', '.join(sorted(unknown))}")
    measured = {method: list(values) for method, values in seconds.items()}
    return Scaling(sizes=list(sizes), seconds=measured, overtakes=overtakes)
