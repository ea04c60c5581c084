"""The small trained model: what it guesses, what its heads look at, and how it is trained."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from autograder.cli import app
from autograder.grading import shown
from course import trained_model
from course.trained_model import (
    HEAD_DIM,
    HIDDEN,
    HIDDEN_SHARE,
    NUM_HEADS,
    NUM_LAYERS,
    NUM_SUCCESSORS,
    NUM_SYMBOLS,
    TRAINED_LENGTH,
    WEIGHTS,
    accuracy,
    attention_shares,
    example_tokens,
    hidden_loss,
    hide,
    load_trained,
    tokens_and_twins,
    train,
    untrained,
)

pytestmark = pytest.mark.xdist_group("trained-model")

LENGTHS = (1, 2, 7, 128, 1024)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    return load_trained()


# The sequences


@pytest.mark.parametrize("n", LENGTHS)
def test_a_segment_occurs_twice_and_twins_are_each_others(n):
    tokens, twins = tokens_and_twins(8, n, seeded())
    assert tokens.shape == twins.shape == (8, n)
    inside = twins >= 0
    assert (inside.sum(dim=1) == 2 * (n // 4)).all()
    here = torch.arange(n).expand(8, n)
    assert torch.equal(twins.gather(1, twins.clamp(min=0))[inside], here[inside])
    assert torch.equal(tokens.gather(1, twins.clamp(min=0))[inside], tokens[inside])


def test_a_symbol_has_few_successors_within_each_stretch():
    tokens, twins = tokens_and_twins(500, TRAINED_LENGTH, seeded())
    outside = twins < 0
    steps = outside[:, :-1] & outside[:, 1:]
    pairs = set(zip(tokens[:, :-1][steps].tolist(), tokens[:, 1:][steps].tolist(), strict=True))
    assert len(pairs) == NUM_SYMBOLS * NUM_SUCCESSORS


def test_the_same_generator_gives_the_same_sequences():
    assert torch.equal(example_tokens(4, 50, seeded()), example_tokens(4, 50, seeded()))
    assert not torch.equal(example_tokens(4, 50, seeded(1)), example_tokens(4, 50, seeded(2)))


def test_fifteen_per_cent_are_hidden_and_the_rest_stays():
    tokens = example_tokens(100, TRAINED_LENGTH, seeded())
    seen, hidden = hide(tokens, seeded())
    assert hidden.double().mean() == pytest.approx(HIDDEN_SHARE, rel=0.05)
    assert (seen[hidden] == HIDDEN).all()
    assert torch.equal(seen[~hidden], tokens[~hidden])


# What it learned


def test_hidden_tokens_are_guessed_far_better_than_by_chance_and_than_untrained(trained):
    inside, outside = accuracy(trained, 64, TRAINED_LENGTH, seeded())
    chance = 1 / NUM_SYMBOLS
    assert max(accuracy(untrained(), 64, TRAINED_LENGTH, seeded())) < 3 * chance
    assert outside > 8 * chance
    assert inside > outside + 0.2


def test_heads_look_at_both_neighbours_and_at_the_other_occurrence(trained):
    shares = attention_shares(trained, 32, TRAINED_LENGTH, seeded())
    before, after, itself, twin = shares.unbind(dim=-1)
    neighbours, matching = (before + after).tolist(), (itself + twin).tolist()
    assert before[0].max() > 0.3
    assert after[0].max() > 0.3
    assert min(neighbours[0]) > 0.4
    # A token has the same contents and neighbours as its twin, so it finds itself too.
    assert min(matching[1]) > 0.6
    assert min(twin[1]) > 20 * max(twin[0])
    assert min(twin[1]) > 20 / TRAINED_LENGTH
    nothing_learned = attention_shares(untrained(), 32, TRAINED_LENGTH, seeded())
    assert nothing_learned.max() < 3 / TRAINED_LENGTH


@pytest.mark.parametrize("n", LENGTHS)
def test_it_reads_sequences_of_any_length(trained, n):
    tokens = example_tokens(2, n, seeded())
    assert trained(tokens).shape == (2, n, NUM_SYMBOLS)
    layers = trained.queries_keys_values(tokens)
    assert len(layers) == NUM_LAYERS
    assert all(t.shape == (2, NUM_HEADS, n, HEAD_DIM) for layer in layers for t in layer)


def test_it_finds_the_other_occurrence_in_longer_sequences_than_it_was_trained_on(trained):
    inside, outside = accuracy(trained, 32, 2 * TRAINED_LENGTH, seeded())
    assert inside > outside + 0.2
    inside, outside = accuracy(trained, 8, 8 * TRAINED_LENGTH, seeded())
    assert inside > outside > 8 / NUM_SYMBOLS


# Its maps


@pytest.mark.parametrize("which", [untrained, load_trained])
def test_the_maps_are_the_softmax_of_queries_and_keys_over_root_d(which):
    model, tokens = which(), example_tokens(2, 40, seeded())
    maps = model.attention(tokens)
    for (q, k, _), attention in zip(model.queries_keys_values(tokens), maps, strict=True):
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.shape[-1])
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        torch.testing.assert_close(attention, weights)


def test_the_maps_times_the_values_are_what_the_model_computes(trained):
    tokens = example_tokens(2, 40, seeded())
    x = trained.embedding(tokens)
    layers = zip(
        trained.layers, trained.attention(tokens), trained.queries_keys_values(tokens), strict=True
    )
    for layer, attention, (_, _, v) in layers:
        heads = (attention @ v).transpose(1, 2).flatten(-2)
        expected = layer.attention.output(heads)
        torch.testing.assert_close(layer.attention(layer.attention_norm(x)), expected)
        x = layer(x)
    torch.testing.assert_close(trained.to_symbols(x), trained(tokens))


def test_a_head_that_looks_at_neighbours_does_so_wherever_the_sequence_begins(trained):
    # Rotary positions are relative: constant tokens leave nothing but distance to look at.
    q, k, _ = trained.queries_keys_values(torch.zeros(1, 60, dtype=torch.long))[0]
    scores = (q @ k.mT)[0]
    torch.testing.assert_close(scores[:, 5, 8], scores[:, 45, 48])


# Training


def test_a_few_steps_of_training_lower_the_loss():
    before = hidden_loss(untrained(), 32, TRAINED_LENGTH, seeded()).item()
    after = hidden_loss(train(num_steps=20), 32, TRAINED_LENGTH, seeded()).item()
    assert before == pytest.approx(math.log(NUM_SYMBOLS), rel=0.1)
    assert after < before - 0.1


def test_training_is_reproducible_for_a_seed():
    def weights(seed):
        return torch.cat([p.flatten() for p in train(num_steps=3, seed=seed).parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_the_command_writes_the_weights_and_says_what_was_learned(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_model, "WEIGHTS", tmp_path / "weights.safetensors")
    monkeypatch.setattr(trained_model, "train", partial(train, num_steps=2))
    result = CliRunner().invoke(app, ["train"])
    assert result.exit_code == 0
    assert "chance" in result.output
    assert "layer 1, head 3" in result.output
    trained, written = train(num_steps=2).state_dict(), load_trained().state_dict()
    assert all(torch.equal(written[name], tensor) for name, tensor in trained.items())


def test_the_random_numbers_of_the_notebook_are_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    untrained()
    assert torch.equal(torch.rand(3), expected)


def test_the_loss_counts_hidden_tokens_only():
    model = untrained()
    tokens = example_tokens(8, TRAINED_LENGTH, generator := seeded())
    seen, hidden = hide(tokens, generator)
    by_hand = -F.log_softmax(model(seen), dim=-1)[hidden].gather(1, tokens[hidden][:, None]).mean()
    torch.testing.assert_close(hidden_loss(model, 8, TRAINED_LENGTH, seeded()), by_hand)


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 1_000_000


def test_the_weights_are_there_where_submissions_run():
    assert WEIGHTS.parent in shown.shown_last()
