"""Formats of weights on made-up results: what is measured, and claims that hold and fail on the two sides of their thresholds."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.language import questions
from experiments.language.quantise import EXPERIMENT, judge, text
from experiments.language.quantise.formats import BFLOAT16, COARSE, FLOAT32, INT4, INT8, UNGROUPED, formats
from experiments.language.quantise.text import Measured
from gendiff.core.errors import ConfigError
from gendiff.networks.language_model import Answer
from gendiff.weights import quantised

CONFIG = dataclasses.replace(EXPERIMENT.presets["full"], seeds=(0, 1), piece=5, tokens=15, resamples=20, samples=100)
PIECES = np.tile([0.0, 1.0, 2.0, 5.0], 3)
"""Losses of three pieces of five tokens, the first of which is not foretold: pieces are equal, and tokens within them are not."""


def measured(nbytes=1000, lost=0.0, wrong=0, best=0):
    right, chosen = np.arange(20) >= wrong, np.arange(15) % 7
    return Measured(nbytes, np.tile([0.0, 0.0, 0.0, 4.0], 3) * lost + PIECES, chosen + (np.arange(15) < best), right, (0.003, 0.001, 0.002))


def claims(distances, **changed):
    usual = {FLOAT32: measured(4000), BFLOAT16: measured(1900), INT8: measured(1000, 0.0078125), INT4: measured(500, 0.0625)}
    usual |= {COARSE: measured(), UNGROUPED: measured(500, 0.125)}
    return {(each.id, each.seed): each for each in judge.claims(CONFIG, usual | changed, distances)}


def digits(change):
    """Four draws of two seeds, whose means in float32 are 2 apart."""
    plain = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])]
    return {FLOAT32: plain, INT8: [each + change for each in plain], INT4: [each - change for each in plain]}


def test_every_claim_holds_at_its_threshold():
    held = claims(digits(2.0))
    assert {each.verdict for each in held.values()} == {"PASS"} and len(held) == 6 + 1 + 2 * 2 + 2
    numbers = {name: each.value for (name, _), each in held.items()}
    expected = {"saved-int8": 1.9, "saved-int4": 3.8, "lost-int8": 0.0078125, "lost-int4": 0.0625, "ungrouped": 0.125, "answers-int8": 0.0}
    assert {name: numbers[name] for name in expected} == expected
    assert held["ungrouped", None].kind == held["tensor", None].kind == "control"
    assert all(held[name, seed].interval == (1.0, 1.0) for name in ("images", "images-int4") for seed in (0, 1))


def test_every_claim_fails_beyond_its_threshold():
    worse = {INT8: measured(1001, 0.015625, wrong=20), INT4: measured(559, 0.109375, wrong=20), UNGROUPED: measured(500, 0.09375)}
    failed = claims(digits(2.25), **worse)
    assert {each.verdict for (name, _), each in failed.items() if name not in ("channel", "tensor")} == {"FAIL"}
    assert failed["answers-int8", None].value == 1.0 and failed["images", 1].value == 1.125


def test_a_fall_of_few_answers_is_measured_and_left_open():
    claim = claims(digits(0.0), **{INT8: measured(wrong=1)})["answers-int8", None]
    assert (claim.value, claim.verdict, claim.n) == (pytest.approx(0.05), "INCONCLUSIVE", 20)


def test_the_interval_of_a_loss_is_over_pieces_of_text():
    """Their means agree to the last bit, so it has no width, whatever the tokens within them do."""
    lost = claims(digits(0.0))["lost-int4", None]
    assert lost.interval == (0.0625, 0.0625) and lost.n == 12


def test_one_large_output_spoils_the_others_where_all_share_a_scale():
    draws = np.random.default_rng(0).normal(size=(judge.SIDE, judge.SIDE)).astype(np.float32)
    draws[:, 0] *= 30
    found = claims(digits(0.0))
    for id, largest in (("channel", np.abs(draws).max(0)), ("tensor", np.abs(draws).max())):
        scale = largest / 127
        error = (np.round(draws / scale) * scale - draws)[:, 1:]
        assert found[id, None].value == pytest.approx(float(np.sqrt((error**2).mean() / (draws[:, 1:] ** 2).mean())), rel=1e-3)
    assert found["channel", None].value < 0.01 < 0.1 < found["tensor", None].value


def test_a_line_is_read_to_the_losses_of_its_tokens_and_the_likeliest_ones(monkeypatch):
    table = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [0.25, 0.5, 0.25]], np.float32))
    monkeypatch.setattr(text.networks, "pure", lambda network: lambda params, line: Answer(jnp.asarray(table)[line], None, ()))
    losses, best = text.reader(None)({}, np.array([[0, 1, 1, 2]], np.int32))
    np.testing.assert_allclose(losses, -np.log([0.25, 0.375, 0.5]), atol=1e-6)
    assert best.tolist() == [0, 2, 2, 1]


def test_each_format_takes_the_bytes_of_its_name():
    """A kernel of 128 inputs and 8 outputs: 4, 2, 1 or ½ bytes for each weight, and 4 or 2 for each scale."""
    params = {"kernel": jnp.ones((128, 8)), "token": jnp.ones((128, 8))}
    one = {name: quantised.nbytes(form(params)["kernel"]) for name, form in formats(tables=True).items()}
    assert one == {
        **{FLOAT32: 4096, BFLOAT16: 2048, INT8: 1024 + 4 * 8},
        **{INT4: 512 + 2 * 8 * 4, COARSE: 512 + 2 * 8 * 2, UNGROUPED: 512 + 2 * 8},
    }
    assert formats(tables=False)[INT8](params)["token"] is params["token"]
    assert quantised.nbytes(formats(tables=True)[INT8](params)["token"]) < 1024 + 4 * 128 + 1


def test_the_table_compares_the_likeliest_tokens_with_those_of_float32():
    table = judge.table(CONFIG, {FLOAT32: measured(4_000_000), INT8: measured(1_000_000, 0.5, wrong=5, best=3)})
    assert table.rows == ((FLOAT32, 4.0, 2.0, 1.0, 1.0, 2.0), (INT8, 1.0, 2.5, 0.8, 0.75, 2.0))


def test_an_answer_counts_as_a_whole_word_and_symbols_by_their_capitals():
    every = dict(questions.questions())
    gold, days = every["What is the chemical symbol for gold?"], every["How many days are in a week?"]
    assert len(every) == 100
    assert [questions.holds(each, gold) for each in ("It is Au.", "au pair", "Gaul", "AU")] == [True, False, False, False]
    assert [questions.holds(each, days) for each in ("Seven days", "7", "17", "seventeen")] == [True, True, False, False]


def test_a_text_of_one_piece_has_no_interval():
    EXPERIMENT.check(dataclasses.replace(CONFIG, tokens=10, batch=16))
    with pytest.raises(ConfigError, match="--tokens 9 must hold at least two of --piece 5"):
        EXPERIMENT.check(dataclasses.replace(CONFIG, tokens=9, batch=16))
