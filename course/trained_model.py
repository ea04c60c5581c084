"""A small Transformer encoder that has learned something: its attention is worth looking at.

It reads sequences of a made-up language and guesses hidden tokens. A token is hard to guess from
its two neighbours, and easier where the same segment occurs a second time. So the model has to look
at neighbours, and then at the place that has the same neighbours: the other occurrence.

The weights are packaged. `autograder train` makes them again.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from rich.progress import track
from safetensors.torch import load_model
from torch import Tensor, nn

from course.measure import one_thread

WEIGHTS = Path(__file__).parent / "data" / "trained_model.safetensors"

NUM_SYMBOLS = 31
HIDDEN = NUM_SYMBOLS
"""The token that stands where a symbol is hidden."""

NUM_SUCCESSORS = 8
HIDDEN_SHARE = 0.15

NUM_LAYERS, NUM_HEADS, HEAD_DIM = 2, 4, 16
WIDTH = NUM_HEADS * HEAD_DIM

TRAINED_LENGTH, SHORT_LENGTH, TOKENS_PER_STEP = 128, 32, 4096


QueriesKeysValues = tuple[
    Float[Tensor, "batch heads n d"],
    Float[Tensor, "batch heads n d"],
    Float[Tensor, "batch heads n d"],
]


# The language


def _successors() -> Int[Tensor, "symbols successors"]:
    """The symbols that may follow each symbol: a sparse Markov chain, the same in every call."""
    order = torch.rand(NUM_SYMBOLS, NUM_SYMBOLS, generator=torch.Generator().manual_seed(0))
    return order.argsort(dim=-1)[:, :NUM_SUCCESSORS]


def tokens_and_twins(
    batch: int, n: int, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "batch n"], Int[Tensor, "batch n"]]:
    """Sequences of n symbols, in which a segment of n // 4 occurs a second time.

    One occurrence is in the first half of the sequence, the other in the second. The twin of a
    position is the same place in the other occurrence; it is -1 outside the segment.
    """
    successors = _successors()
    tokens = torch.randint(NUM_SYMBOLS, (batch, n), generator=generator)
    choices = torch.randint(NUM_SUCCESSORS, (batch, n), generator=generator)
    for i in range(1, n):
        tokens[:, i] = successors[tokens[:, i - 1], choices[:, i]]

    half, length = n // 2, n // 4
    segment = torch.arange(length)
    latest = half - length + 1
    first = torch.randint(latest, (batch, 1), generator=generator) + segment
    second = torch.randint(latest, (batch, 1), generator=generator) + half + segment
    tokens.scatter_(1, second, tokens.gather(1, first))
    twins = torch.full((batch, n), -1)
    twins.scatter_(1, first, second).scatter_(1, second, first)
    return tokens, twins


def example_tokens(
    batch: int, n: int, generator: torch.Generator | None = None
) -> Int[Tensor, "batch n"]:
    """Sequences of the kind that the model was trained on, before anything is hidden."""
    return tokens_and_twins(batch, n, generator)[0]


def hide(
    tokens: Int[Tensor, "batch n"], generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "batch n"], Bool[Tensor, "batch n"]]:
    """The sequences with 15 % of their tokens hidden, and where they are hidden."""
    hidden = torch.rand(tokens.shape, generator=generator) < HIDDEN_SHARE
    return tokens.masked_fill(hidden, HIDDEN), hidden


# The model


def rotate(x: Float[Tensor, "... n d"]) -> Float[Tensor, "... n d"]:
    """Turn pairs of numbers by an angle that grows with the position (rotary positions).

    The product of a turned query and a turned key depends on how far apart they are, and not on
    where they are: no position is too far along for it.

    Source: Su et al. 2021, equation 34 (arXiv 2104.09864).
    """
    n, d = x.shape[-2:]
    radians_per_token = 2 * torch.logspace(0, -1.5, d // 2)
    angles = torch.arange(n)[:, None] * radians_per_token  # (n, d / 2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat(
        [a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], dim=-1
    )


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself; every token sees all others.

    with_positions: whether scores depend on how far apart two tokens are, or on contents alone.
    """

    def __init__(self, with_positions: bool) -> None:
        super().__init__()
        self.with_positions = with_positions
        self.to_qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)

    def queries_keys_values(self, x: Float[Tensor, "batch n width"]) -> QueriesKeysValues:
        """What the heads compare, with the positions in it, and what they sum: (q, k, v)."""
        qkv = self.to_qkv(x).unflatten(-1, (3, NUM_HEADS, HEAD_DIM))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, n, d)
        return (rotate(q), rotate(k), v) if self.with_positions else (q, k, v)

    def forward(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        """softmax(q kᵀ / √d) v of every head, joined and projected."""
        q, k, v = self.queries_keys_values(x)
        heads = F.scaled_dot_product_attention(q, k, v)
        return self.output(heads.transpose(1, 2).flatten(-2))


class EncoderLayer(nn.Module):
    """Attention, then a small network for each token, each added to what it reads (pre-norm)."""

    def __init__(self, with_positions: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = Attention(with_positions)
        self.network = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        """What comes in, plus what attention and then the network add."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.network(x)


class TrainedModel(nn.Module):
    """Two encoder layers between an embedding of the tokens and scores for every symbol.

    The first layer knows how far apart two tokens are, and the second compares contents alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NUM_SYMBOLS + 1, WIDTH)
        self.layers = nn.ModuleList(EncoderLayer(layer == 0) for layer in range(NUM_LAYERS))
        self.to_symbols = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, NUM_SYMBOLS))

    def forward(self, tokens: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n symbols"]:
        """The logits of the symbol at each position."""
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.to_symbols(x)

    @torch.no_grad()
    def queries_keys_values(self, tokens: Int[Tensor, "batch n"]) -> list[QueriesKeysValues]:
        """(q, k, v) of each layer; the layer's attention is softmax(q kᵀ / √d) v."""
        found = []
        x = self.embedding(tokens)
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            found.append(layer.attention.queries_keys_values(layer.attention_norm(x)))
            x = layer(x)
        return found

    def attention(self, tokens: Int[Tensor, "batch n"]) -> list[Float[Tensor, "batch heads n n"]]:
        """The attention maps softmax(q kᵀ / √d) of each layer; row i is what token i looks at."""
        return [
            (q @ k.mT / math.sqrt(HEAD_DIM)).softmax(dim=-1)
            for q, k, _ in self.queries_keys_values(tokens)
        ]


def untrained(seed: int = 0) -> TrainedModel:
    """The model with the weights that training starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TrainedModel()


def load_trained() -> TrainedModel:
    """The model with the packaged weights."""
    model = untrained()
    load_model(model, WEIGHTS)
    return model


# Training, and what came of it


def hidden_loss(
    model: TrainedModel, batch: int, n: int, generator: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """The cross-entropy in nats of the hidden tokens of fresh sequences."""
    tokens = example_tokens(batch, n, generator)
    seen, hidden = hide(tokens, generator)
    return F.cross_entropy(model(seen)[hidden], tokens[hidden])


@one_thread()
def train(num_steps: int = 2400, seed: int = 0) -> TrainedModel:
    """Train the model, with a progress bar; the same seed gives the same weights on a machine.

    It begins with short sequences: the other occurrence is found sooner among fewer tokens.
    """
    model = untrained(seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=5e-3, total_steps=num_steps, pct_start=0.1
    )
    for step in track(range(num_steps), "Training"):
        n = SHORT_LENGTH if step < 0.4 * num_steps else TRAINED_LENGTH
        loss = hidden_loss(model, TOKENS_PER_STEP // n, n, generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def accuracy(
    model: TrainedModel, batch: int, n: int, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """The share of hidden tokens guessed right: (inside the repeated segment, outside it)."""
    tokens, twins = tokens_and_twins(batch, n, generator)
    seen, hidden = hide(tokens, generator)
    right = model(seen).argmax(dim=-1) == tokens
    inside = twins >= 0
    return tuple(right[hidden & where].double().mean().item() for where in (inside, ~inside))


def attention_shares(
    model: TrainedModel, batch: int, n: int, generator: torch.Generator | None = None
) -> Float[Tensor, "layers heads 4"]:
    """How much of its attention a head pays to the token before, the one after, itself, the twin.

    The mean over the tokens that have one; 1 / n is what a head pays that does not care.
    """
    tokens, twins = tokens_and_twins(batch, n, generator)
    here = torch.arange(n).expand(batch, n)
    targets = (here - 1, torch.where(here < n - 1, here + 1, -1), here, twins)
    shares = []
    for maps in model.attention(hide(tokens, generator)[0]):
        for target in targets:
            exists = target >= 0
            paid = maps.take_along_dim(target.clamp(min=0)[:, None, :, None], dim=-1)[..., 0]
            shares.append(paid.transpose(0, 1)[:, exists].mean(dim=-1))
    return torch.stack(shares).unflatten(0, (NUM_LAYERS, len(targets))).transpose(1, 2)


def describe(model: TrainedModel) -> str:
    """What the model guesses right, and what each head looks at, on sequences of 128 tokens."""

    def fresh() -> tuple[int, int, torch.Generator]:
        return 128, TRAINED_LENGTH, torch.Generator().manual_seed(1)

    lines = ["hidden tokens guessed right: inside the repeated segment, outside it"]
    for name, which in (("trained", model), ("untrained", untrained())):
        inside, outside = accuracy(which, *fresh())
        lines.append(f"  {name:<10}{inside:7.1%}{outside:7.1%}")
    lines.append(f"  {'chance':<10}{1 / NUM_SYMBOLS:7.1%}{1 / NUM_SYMBOLS:7.1%}")
    lines.append(
        "share of a head's attention: on the token before, the one after, itself, the twin"
    )
    for layer, heads in enumerate(attention_shares(model, *fresh()).tolist()):
        for head, shares in enumerate(heads):
            paid = "".join(f"{share:7.1%}" for share in shares)
            lines.append(f"  layer {layer}, head {head}{paid}")
    return "\n".join(lines)
