"""The recurrent state at work: what (Σ φ(k)vᵀ, Σ φ(k)) keeps of the pairs written into it.

The step and the feature map are the reader's. They are held against the values that were stored,
and against causal kernel attention computed one query at a time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from course.measure import one_thread
from course.specifications.linear_attention import kernel_attention
from course.widgets.exhibit import (
    Exhibit,
    ReaderError,
    as_tensor,
    not_finite,
    note,
    percent,
    run,
)
from course.widgets.style import (
    BLACK,
    BLUE,
    GREY,
    SERIES,
    TRUTH,
    VERMILLION,
    Look,
    new_figure,
    styled,
    write_in_place,
)

FeatureMap = Callable[[Tensor], Tensor]
State = tuple[Tensor, Tensor]

KEY_DIM, VALUE_DIM, LENGTH = 16, 8, 48
STEP = "recurrent_step"
_BELOW: Look = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.22), "ncols": 2}
SEQUENCES = ["every key new", "four keys, same values", "four keys, new values", "random keys"]


@dataclass
class Recall:
    """A sequence to store: token t writes values[t] under the key codebook[ids[t]].

    keys is (n, d), values (n, e), ids (n,), codebook (distinct keys, d).
    """

    codebook: Tensor
    ids: Tensor
    values: Tensor

    @property
    def keys(self) -> Tensor:
        """The key of each token."""
        return self.codebook[self.ids]

    def stored(self, t: int) -> State:
        """The c distinct keys of tokens 0 to t, (c, d), and the value each had last, (c, e)."""
        last = {int(key): i for i, key in enumerate(self.ids[: t + 1])}
        return self.codebook[list(last)], self.values[list(last.values())]


def separate_keys(count: int, d: int, generator: torch.Generator) -> Tensor:
    """`count` distinct keys, (count, d), as far from each other under elu + 1 as they can be.

    An entry is 8 (a feature is on) or −8 (off, e⁻⁸ after elu + 1). The first d keys have one
    feature each, so their features are orthogonal; the next have two, then three.
    """
    keys: list[Tensor] = []
    for size in range(1, d + 1):
        codes = list(islice(combinations(range(d), size), 8 * count))
        for choice in torch.randperm(len(codes), generator=generator)[: count - len(keys)]:
            keys.append(torch.full((d,), -8.0).index_fill(0, torch.tensor(codes[choice]), 8.0))
    return torch.stack(keys)


def example_recall(sequence: str) -> Recall:
    """LENGTH tokens with keys of KEY_DIM and values of VALUE_DIM numbers; see SEQUENCES."""
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(LENGTH, VALUE_DIM, generator=generator)
    if sequence == "random keys":
        keys = 2 * torch.randn(LENGTH, KEY_DIM, generator=generator)
        return Recall(keys, torch.arange(LENGTH), values)
    keys = separate_keys(LENGTH, KEY_DIM, generator)
    if sequence == "every key new":
        return Recall(keys, torch.arange(LENGTH), values)
    ids = torch.arange(LENGTH) % 4
    return Recall(keys, ids, values[ids] if sequence == "four keys, same values" else values)


def _step(step: Any, state: State, q: Tensor, k: Tensor, v: Tensor, phi: Any) -> tuple:
    """One call of the reader's step, with its answer checked for form: (new state, output)."""
    answer = run(STEP, step, tuple(part.clone() for part in state), q, k, v, phi)
    try:
        (key_values, key_sum), output = answer
    except (TypeError, ValueError):
        raise ReaderError(f"{STEP} did not return ((key_values, key_sum), output).") from None
    new_state = (
        as_tensor(f"{STEP}, for key_values,", key_values, tuple(state[0].shape)).float(),
        as_tensor(f"{STEP}, for key_sum,", key_sum, tuple(state[1].shape)).float(),
    )
    return new_state, as_tensor(f"{STEP}, for the output,", output, tuple(v.shape))


def _features(feature_map: FeatureMap, keys: Tensor) -> Tensor:
    """φ(keys), (n, m) with an m of the feature map's choosing."""
    phi = run("feature_map", feature_map, keys)
    m = phi.shape[-1] if isinstance(phi, Tensor) and phi.ndim else keys.shape[-1]
    return as_tensor("feature_map", phi, (len(keys), m))


def store_and_read(
    recurrent_step: Callable, feature_map: FeatureMap, recall: Recall, tokens: list[int]
) -> tuple[dict[int, State], dict[int, Tensor]]:
    """Write the sequence token by token; after each of `tokens`, read every key stored so far.

    Returns the state after each token, and at each of `tokens` the outputs, (keys, e). Raises
    ReaderError where the reader's functions cannot be run.
    """
    keys, values = recall.keys, recall.values
    m = _features(feature_map, keys).shape[-1]
    state = (torch.zeros(m, values.shape[-1]), torch.zeros(m))
    states, outputs = {}, {}
    for t in range(max(tokens) + 1):
        if t in tokens:
            # The step writes before it reads: one copy of the state for each key asked for.
            queries, _ = recall.stored(t)
            count = len(queries)
            key_values, key_sum = (part.expand(count, *part.shape) for part in state)
            copies = key_values, key_sum
            written = (keys[t].expand(count, -1), values[t].expand(count, -1))
            _, outputs[t] = _step(recurrent_step, copies, queries, *written, feature_map)
        state, _ = _step(recurrent_step, state, keys[t], keys[t], values[t], feature_map)
        states[t] = state
    return states, outputs


def recall_error(recall: Recall, t: int, outputs: Tensor) -> float:
    """‖read − stored‖ / ‖stored‖, the mean over the keys stored after token t: 0 is exact."""
    _, stored = recall.stored(t)
    return ((outputs - stored).norm(dim=-1) / stored.norm(dim=-1)).mean().item()


def right_outputs(feature_map: FeatureMap, recall: Recall, t: int) -> Tensor:
    """What a right step reads for every key stored after token t: (keys, e)."""
    queries, _ = recall.stored(t)
    keys, values = recall.keys[: t + 1], recall.values[: t + 1]
    _features(feature_map, keys)
    return run("feature_map", kernel_attention, queries, keys, values, feature_map).double()


def step_problems(recurrent_step: Callable, feature_map: FeatureMap) -> list[str]:
    """What is wrong with the two functions, in sentences, as seen on 12 random tokens."""
    recall = example_recall("random keys")
    tokens = list(range(12))
    try:
        phi = _features(feature_map, recall.keys)
        _, outputs = store_and_read(recurrent_step, feature_map, recall, tokens)
        right = {t: right_outputs(feature_map, recall, t) for t in tokens}
    except ReaderError as error:
        return [str(error)]
    problems = []
    if not (phi > 0).all():
        problems.append(f"feature_map gives numbers that are not positive: {phi.min():.3g}.")
    problems += not_finite(STEP, torch.cat(list(outputs.values())))
    for t in tokens:
        off = (outputs[t] - right[t]).abs().max().item()
        if not off < 1e-3 and right[t].isfinite().all():
            problems.append(
                f"{STEP} differs from causal kernel attention, the first time at token {t}."
            )
            break
    return problems


# --- recurrent_state ------------------------------------------------------------------------------


@dataclass(kw_only=True)
class RecurrentState(Exhibit):
    """The state after token t, what it reads for the first key, and errors and bytes for all t.

    `state`, `read` and `errors` are None where the reader's functions cannot be run, and
    `right_errors` where the feature map cannot.
    """

    sequence: str
    t: int
    num_keys: int
    stored: Tensor
    state: State | None
    read: Tensor | None
    errors: list[float] | None
    right_errors: list[float] | None
    cache_bytes_per_token: int

    @property
    def state_bytes(self) -> int:
        """Bytes of the state, the same after every token."""
        return 0 if self.state is None else sum(part.nbytes for part in self.state)

    def findings(self) -> str:
        """Sizes, and how well the state reads the first key and all keys."""
        written = f"{self.sequence.capitalize()}: {self.t + 1} tokens have written "
        written += f"{self.num_keys} different {'key' if self.num_keys == 1 else 'keys'}."
        if self.state is None:
            return f"{written} There is no state to show."
        assert self.read is not None, "it comes with the state"
        assert self.errors is not None, "they come with the state"
        off = ((self.read - self.stored).norm() / self.stored.norm()).item()
        return (
            f"{written} The state takes {self.state_bytes} bytes, a key–value cache "
            f"{(self.t + 1) * self.cache_bytes_per_token}. Asked for the first key, the state "
            f"reads a value that is {percent(off)} off; the mean over all keys is "
            f"{percent(self.errors[self.t])}."
        )

    @styled
    def draw(self) -> Figure:
        """State and read-out above, recall error and bytes against tokens below."""
        figure = new_figure(height=6.6)
        grid = figure.add_gridspec(2, 1)
        above = grid[0].subgridspec(1, 3, width_ratios=[1.6, 0.35, 2.2]).subplots(squeeze=False)
        self._draw_state(*above.flat)
        self._draw_course(*grid[1].subgridspec(1, 2).subplots(squeeze=False).flat)
        return figure

    def _draw_state(self, matrix: Axes, key_sum: Axes, read: Axes) -> None:
        matrix.set(title="state S = Σ φ(k)vᵀ", xlabel="value entry", ylabel="feature")
        key_sum.set(title="z = Σ φ(k)", xticks=[])
        for axes in (matrix, key_sum):
            axes.grid(visible=False)
        place = np.arange(len(self.stored))
        read.bar(place - 0.2, self.stored.numpy(), 0.4, color=GREY, label="stored there last")
        if self.state is None or self.read is None:
            for axes in (matrix, key_sum):
                axes.set(xticks=[], yticks=[])
            write_in_place(matrix, "nothing to show")
            write_in_place(read, "nothing was read", y=0.9)
        else:
            values, weights = self.state
            top = values[values.isfinite()].abs().amax().item() if values.isfinite().any() else 1.0
            image = matrix.imshow(values.numpy(), cmap="PuOr", vmin=-top, vmax=top, aspect="auto")
            matrix.figure.colorbar(image, ax=matrix)
            image = key_sum.imshow(weights.unsqueeze(-1).numpy(), vmin=0, aspect="auto")
            key_sum.figure.colorbar(image, ax=key_sum, fraction=0.5)
            for axes in (matrix, key_sum):
                axes.yaxis.set_major_locator(MultipleLocator(4))
            read.bar(place + 0.2, self.read.numpy(), 0.4, color=BLUE, hatch="//", label="read back")
        read.axhline(0, color=BLACK, lw=1)
        read.set(title="asking for the first key", xlabel="value entry", ylabel="value")
        read.set_xticks(place)
        read.legend(**_BELOW)

    def _draw_course(self, recall: Axes, size: Axes) -> None:
        tokens = list(range(1, LENGTH + 1))
        now = self.t + 1
        if self.right_errors is not None:
            recall.plot(tokens, self.right_errors, label="kernel attention", **TRUTH)
        if self.errors is None:
            write_in_place(recall, "nothing to show", y=0.9)
        else:
            recall.plot(tokens, self.errors, color=BLUE, label="your recurrent_step")
            recall.plot(now, self.errors[self.t], "o", color=BLUE)
            size.axhline(self.state_bytes, color=BLUE, label="state (S, z)")
        recall.set(title="recall of all keys so far", xlabel="tokens written")
        shown = [*(self.errors or []), *(self.right_errors or []), 1.0]
        top = max(error for error in shown if math.isfinite(error))
        recall.set(ylabel="error, relative to the value", ylim=(-0.04, 1.08 * top))
        cache = [token * self.cache_bytes_per_token for token in tokens]
        size.plot(tokens, cache, color=VERMILLION, ls="--", label="key–value cache")
        size.plot(now, cache[self.t], "s", color=VERMILLION)
        size.set(title="memory", xlabel="tokens written", ylabel="bytes", ylim=(0, None))
        for axes in (recall, size):
            axes.axvline(now, color=BLACK, lw=1, ls=":")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(**_BELOW)


@one_thread()
def recurrent_state(
    recurrent_step: Callable, feature_map: FeatureMap, sequence: str, t: int
) -> RecurrentState:
    """Run `recurrent_step` over one of SEQUENCES and stop after token t, 0 to LENGTH − 1."""
    recall = example_recall(sequence)
    keys, values = recall.stored(t)
    tokens = list(range(LENGTH))
    problems = step_problems(recurrent_step, feature_map)
    state = read = errors = right_errors = None
    try:
        right_errors = [
            recall_error(recall, i, right_outputs(feature_map, recall, i)) for i in tokens
        ]
        states, outputs = store_and_read(recurrent_step, feature_map, recall, tokens)
        state, read = states[t], outputs[t][0]
        errors = [recall_error(recall, i, outputs[i]) for i in tokens]
    except ReaderError as error:
        note(problems, error)
    return RecurrentState(
        problems=problems,
        sequence=sequence,
        t=t,
        num_keys=len(keys),
        stored=values[0],
        state=state,
        read=read,
        errors=errors,
        right_errors=right_errors,
        cache_bytes_per_token=recall.keys[0].nbytes + values[0].nbytes,
    )


# --- recall_capacity ------------------------------------------------------------------------------


@dataclass(kw_only=True)
class RecallCapacity(Exhibit):
    """Recall error against the number of stored pairs; errors[m] has one entry for each number."""

    num_pairs: list[int]
    errors: dict[int, list[float]]

    def room(self, m: int) -> int:
        """The largest number of pairs that a state of m features reads back within 5 %."""
        pairs = zip(self.num_pairs, self.errors[m], strict=True)
        return max((n for n, error in pairs if error < 0.05), default=0)

    def findings(self) -> str:
        """How many pairs each size holds, and the error at the largest number."""
        if not self.errors:
            return "There is no recall to measure."
        told = [
            f"{m} features: up to {self.room(m)} pairs, {percent(curve[-1])} off at "
            f"{self.num_pairs[-1]}"
            for m, curve in self.errors.items()
        ]
        return f"Pairs read back within 5 % by a state of {'; '.join(told)}."

    @styled
    def draw(self) -> Figure:
        """One line a state size, with a mark on the axis where pairs equal features."""
        figure = new_figure(height=4.2)
        axes = figure.subplots()
        for style, (m, curve) in zip(SERIES, self.errors.items(), strict=False):
            axes.plot(self.num_pairs, curve, label=f"m = {m}", **style)
            axes.axvline(m, color=style["color"], lw=1, ls=":")
        axes.set(
            title="How many pairs does a state of m features hold? (dotted: m pairs)",
            xlabel="key–value pairs stored",
            ylabel="recall error, relative to the value",
            ylim=(-0.03, None),
        )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        if self.errors:
            axes.legend(title="state size", loc="upper left")
        else:
            write_in_place(axes, "nothing to show")
        return figure


@one_thread()
def recall_capacity(
    recurrent_step: Callable,
    feature_map: FeatureMap,
    state_sizes: tuple[int, ...] = (8, 16, 32, 64),
) -> RecallCapacity:
    """Store up to 128 pairs with separate keys in states of each size, and read all back.

    `feature_map` must be one that keeps the size of a key, as elu + 1 does: m is the key's d.
    """
    num_pairs = sorted({round(2 ** (step / 3)) for step in range(22)})
    errors, problems = {}, step_problems(recurrent_step, feature_map)
    for m in state_sizes:
        generator = torch.Generator().manual_seed(8)
        keys = separate_keys(num_pairs[-1], m, generator)
        values = torch.randn(len(keys), VALUE_DIM, generator=generator)
        recall = Recall(keys, torch.arange(len(keys)), values)
        tokens = [n - 1 for n in num_pairs]
        try:
            _, outputs = store_and_read(recurrent_step, feature_map, recall, tokens)
        except ReaderError as error:
            note(problems, error)
            continue
        errors[m] = [recall_error(recall, t, outputs[t]) for t in tokens]
    return RecallCapacity(problems=problems, num_pairs=num_pairs, errors=errors)
