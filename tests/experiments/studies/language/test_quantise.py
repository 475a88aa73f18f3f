"""Formats of weights on made-up results: what is measured of text, answers and digits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.language import byte_model, ggml_blocks, quantise, questions, weight_formats
from experiments.language.quantise import EXPERIMENT, Reading
from experiments.language.weight_formats import (
    BFLOAT16,
    COARSE,
    FLOAT32,
    GPTQ,
    INT4,
    INT8,
    SEARCHED,
    SMALL,
    TABLE8,
    UNGROUPED,
    formats,
)
from gendiff import networks
from gendiff.commands import quantise_model
from gendiff.commands.chat import models
from gendiff.core.errors import ConfigError
from gendiff.data import text
from gendiff.networks.texts.language_model import Answer
from gendiff.weights import quantised

gguf = pytest.importorskip("gguf", reason="needs the extra [language]")
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
    plain = {"MB": 4.0, "nats per token": 2.0, "same likeliest token": 1.0, "ms per token": 2.0, "bits per weight": 32}
    assert result[FLOAT32].measures == plain and result[f"{FLOAT32}, questions"].measures == {"answered": 1.0}
    packed = {
        "MB": 1.0,
        "nats per token": 2.5,
        "same likeliest token": 0.8,
        "ms per token": 2.0,
        "bits per weight": 8.0,
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


def test_what_was_neither_asked_nor_timed_has_its_likelihood_alone():
    silent = dataclasses.replace(reading(500_000, lost=0.5), right=None)
    readings = {FLOAT32: reading(4_000_000), "blocks": silent}
    rows = list(quantise.judge_text(CONFIG, readings, {FLOAT32: (0.001,)}))
    assert [each.name for each in rows] == [FLOAT32, f"{FLOAT32}, questions", "blocks"]
    assert set(rows[-1].measures) == {"MB", "nats per token", "same likeliest token", "bits per weight", "lost"}
    assert rows[-1].measures["bits per weight"] == 4.0


def test_gptq_has_the_bytes_of_its_format_and_other_weights_than_round_to_nearest():
    """Kernels with a scale per 32 weights are of 4.5 bits, tables of 16 of 5 bits."""
    network = networks.LanguageModel(vocabulary=64, context=16, width=32, depth=1, heads=2)
    tokens = np.random.default_rng(0).integers(0, 64, (6, 16), np.int32)
    params = networks.init(network, jax.random.key(0), tokens)
    results = {name: form(params) for name, form in weight_formats.better(network, params, tokens).items()}
    bits = {name: 8 * quantised.nbytes(each["block_0"]["qkv"]["kernel"]) / (32 * 96) for name, each in results.items()}
    assert set(bits.values()) == {4.5} and len(bits) == 4
    tables = {name: 8 * quantised.nbytes(each["token"]) / (64 * 32) for name, each in results.items()}
    assert tables == {TABLE8: 9.0, SEARCHED: 9.0, GPTQ: 9.0, SMALL: 5.0}
    nearest, corrected = (results[name]["block_0"]["qkv"]["kernel"] for name in (SEARCHED, GPTQ))
    assert (np.asarray(nearest.values) != np.asarray(corrected.values)).any()


def test_a_calibration_reads_sources_and_not_the_manual_that_is_judged():
    chat = models.tiny(1024)
    rows = quantise_model.calibration_rows(chat.tokenizer, None, 3)
    assert rows.shape == (3, quantise_model.ROW) and rows.dtype == np.int32
    manual = "\n".join(text.python_manual().texts)
    assert not any(chat.tokenizer.decode(row) in manual for row in rows)


def packed_by_gguf(kind, rows):
    """In the place of llama.cpp's library: the package gguf packs the kinds that it can."""
    return gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind])


def test_blocks_of_llama_cpp_are_read_back_and_inputs_of_no_256_have_other_kinds():
    rng = np.random.default_rng(0)
    kernel, table = rng.normal(size=(64, 24)).astype(np.float32), rng.normal(size=(10, 64)).astype(np.float32)
    params = {"layer": {"kernel": kernel, "bias": np.zeros(24, np.float32)}, "token": table}
    result, nbytes = ggml_blocks.quantised(params, "Q4_K", "Q6_K", packed_by_gguf)
    assert nbytes == 64 * 24 * 5.5 / 8 + 10 * 64 * 8.5 / 8 + 4 * 24
    dense = quantised.dequantise(result)
    np.testing.assert_allclose(dense["layer"]["kernel"], kernel, atol=np.abs(kernel).max() / 15)
    np.testing.assert_allclose(dense["token"], table, atol=np.abs(table).max() / 250)


def test_the_model_of_bytes_is_judged_by_rows():
    network = networks.LanguageModel(vocabulary=8, context=8, width=8, depth=1, heads=2)
    rows = np.random.default_rng(0).integers(0, 8, (3, 6), np.int32)
    params = jax.tree.map(jnp.zeros_like, networks.init(network, jax.random.key(0), rows))
    np.testing.assert_allclose(byte_model.losses(network, params, rows), np.full(3, np.log(8)), rtol=1e-6)


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
