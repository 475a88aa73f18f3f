"""Formats of weights on made-up results: what is measured of text, answers and digits."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.language import quantise, questions
from experiments.language.quantise import BFLOAT16, COARSE, EXPERIMENT, FLOAT32, INT4, INT8, UNGROUPED, Reading, formats
from gendiff.core.errors import ConfigError
from gendiff.networks.texts.language_model import Answer
from gendiff.weights import quantised

CONFIG = dataclasses.replace(EXPERIMENT.presets["full"], seeds=(0, 1), piece=5, tokens=15, resamples=20, samples=100)
PIECES = np.tile([0.0, 1.0, 2.0, 5.0], 3)
"""Losses of three pieces of five tokens, the first of which is not foretold: pieces are equal, and tokens within them
are not.
"""


def reading(nbytes=1_000_000, lost=0.0, wrong=0, best=0):
    right, chosen = np.arange(20) >= wrong, np.arange(15) % 7
    return Reading(nbytes, np.tile([0.0, 0.0, 0.0, 4.0], 3) * lost + PIECES, chosen + (np.arange(15) < best), right)


def judged(**changed):
    readings = {
        FLOAT32: reading(4_000_000),
        INT8: reading(lost=0.5, wrong=5, best=3),
        INT4: reading(lost=0.0625, wrong=1),
    }
    seconds = dict.fromkeys(readings, (0.003, 0.001, 0.002))
    return {each.name: each for each in quantise.judge_text(CONFIG, readings | changed, seconds)}


def test_formats_are_compared_with_float32():
    result = judged()
    plain = {"MB": 4.0, "nats per token": 2.0, "same likeliest token": 1.0, "ms per token": 2.0}
    assert result[FLOAT32].measures == plain and result[f"{FLOAT32}, questions"].measures == {"answered": 1.0}
    packed = {
        "MB": 1.0,
        "nats per token": 2.5,
        "same likeliest token": 0.8,
        "ms per token": 2.0,
        "lost": (0.5, 0.5, 0.5),
    }
    assert result[INT8].measures == packed and result[f"{INT8}, questions"].measures["fall"][0] == 0.25


def test_a_fall_of_few_answers_has_an_interval_over_questions():
    each = judged()[f"{INT4}, questions"]
    value, low, high = each.measures["fall"]
    assert value == pytest.approx(0.05) and low == 0 < 0.05 < high and each.n == 20


def test_the_interval_of_a_loss_is_over_pieces_of_text():
    """Their means agree to the last bit, so it has no width, whatever the tokens within them do."""
    each = judged()[INT4]
    assert each.measures["lost"] == (0.0625, 0.0625, 0.0625) and each.n == 12


def test_the_distance_of_digits_changes_in_ranges_of_the_seeds():
    """Four draws of two seeds, whose means in float32 are 2 apart."""
    plain = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])]
    rows = quantise.judge_digits(
        CONFIG, {FLOAT32: plain, INT8: [each + 2.25 for each in plain], INT4: [each - 2.0 for each in plain]}
    )
    result = {(each.name, each.seed): each.measures for each in rows}
    assert result[f"digits, {FLOAT32}", 0] == {"floors": 2.5} and len(result) == 6
    assert [result[f"digits, {name}", 1]["change"] for name in (INT8, INT4)] == [(1.125,) * 3, (1.0,) * 3]


def test_a_line_is_read_to_the_losses_of_its_tokens_and_the_likeliest_ones(monkeypatch):
    table = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [0.25, 0.5, 0.25]], np.float32))
    monkeypatch.setattr(
        quantise.networks, "pure", lambda network: lambda params, line: Answer(jnp.asarray(table)[line], None, ())
    )
    losses, best = quantise.reader(None)({}, np.array([[0, 1, 1, 2]], np.int32))
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


def test_an_answer_counts_as_a_whole_word_and_symbols_by_their_capitals():
    answers_by_question = dict(questions.questions())
    gold, days = (
        answers_by_question["What is the chemical symbol for gold?"],
        answers_by_question["How many days are in a week?"],
    )
    assert len(answers_by_question) == 100
    assert [questions.holds(each, gold) for each in ("It is Au.", "au pair", "Gaul", "AU")] == [
        True,
        False,
        False,
        False,
    ]
    assert [questions.holds(each, days) for each in ("Seven days", "7", "17", "seventeen")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_text_of_one_piece_has_no_interval():
    EXPERIMENT.check(dataclasses.replace(CONFIG, tokens=10, batch=16))
    with pytest.raises(ConfigError, match="--tokens 9 must hold at least two of --piece 5"):
        EXPERIMENT.check(dataclasses.replace(CONFIG, tokens=9, batch=16))
