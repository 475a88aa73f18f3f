"""Language models over bytes: what a step counts and changes, and rollouts, whose tokens are the likeliest with given
noise.
"""

import jax
import numpy as np
import pytest

from experiments.bench import byte_lm, cases, smollm2, weights
from experiments.bench.workloads import NETWORKS, Workload
from gendiff import networks
from gendiff.scaling import accounting, cost
from tests.experiments.studies.bench.ours_alone import changed, done

STEP = Workload("next_token", "tiny_byte_lm", batch=2, tokens=8)
ROLLOUT = Workload("rollout", "tiny_byte_lm", batch=3, tokens=4, steps=5)


def test_a_text_has_one_id_more_than_it_trains_on_and_all_are_of_the_vocabulary():
    ids = byte_lm.inputs(STEP)["ids"]
    assert ids.shape == (2, 9) and 0 <= ids.min() and ids.max() < NETWORKS["tiny_byte_lm"].settings["vocab_size"]
    assert STEP.tokens_done == 16 and Workload("prefill", "tiny_smollm2", tokens=8).tokens_done == 0


@pytest.mark.parametrize(
    "case", [case for case in cases.ALL if case.name.startswith("lm_train")], ids=lambda case: case.name
)
def test_flops_are_those_of_the_layers_but_for_pairs_of_tokens_that_the_mask_hides(case):
    workload, size = case.workload, smollm2.size_of(case.workload)
    tokens = jax.ShapeDtypeStruct((workload.batch, workload.tokens), np.int32)
    counted = accounting.count(byte_lm.build(workload), tokens, embeddings=True)
    hidden = size.attention_flops(workload.tokens) - size.attention_flops(cost.mean_seen(workload.tokens))
    assert byte_lm.flops(workload) == pytest.approx(counted.training_flops - 3 * workload.tokens_done * hidden)
    assert case.modes == ("eager", "compiled")


def test_the_three_sizes_have_the_parameters_that_their_cases_name():
    sizes = {case.name: weights.shapes(case.workload) for case in cases.ALL if case.name.startswith("lm_train")}
    counts = {name: networks.count(params) - 256 * params["token"].shape[1] for name, params in sizes.items()}
    assert counts == pytest.approx(
        {"lm_train_small": 0.1e6, "lm_train_medium": 3.2e6, "lm_train_large": 25e6}, rel=0.05
    )


@pytest.mark.slow
def test_a_step_changes_every_parameter_and_answers_logits_and_the_loss(tmp_path):
    folder = weights.folder(STEP, tmp_path)
    side, answer = done(STEP, tmp_path, folder)
    params, metrics = side.ways["ours"].run()
    assert min(changed(STEP, folder, params)) > 1e-5 and float(metrics["nll"]) > 0
    assert answer["output"].shape == (8 * 32 + 1,) and np.isfinite(answer["output"]).all()


def test_a_token_is_the_largest_of_log_probabilities_and_given_noise_and_those_that_were_kept_are_those_of_whole_texts(
    tmp_path,
):
    inputs = byte_lm.inputs(ROLLOUT)
    _, answer = done(ROLLOUT, tmp_path, weights.folder(ROLLOUT, tmp_path), inputs)
    scores, tokens = answer["output"], answer["tokens"]
    assert scores.shape == (3, 5, 32) and inputs["noise"].shape == (5, 3, 32)
    np.testing.assert_array_equal(scores.argmax(2), tokens)
    # the rollout kept one of each row, whole texts gave the others
    law = np.exp(scores - inputs["noise"].swapaxes(0, 1))
    np.testing.assert_allclose(law.sum(2), 1, atol=1e-5)
    assert law.max() < 0.99 and len({*tokens.ravel()}) > 3


def test_the_case_of_rollouts_counts_the_tokens_that_it_writes_and_has_a_peer_without_a_cache_of_transformers():
    (case,) = (case for case in cases.ALL if case.name == "rollout")
    assert case.modes == ("eager", "compiled") and case.workload.tokens_done == 16 * 64 and ROLLOUT.tokens_done == 15
    size = smollm2.size_of(case.workload)
    least = 2 * 16 * (95 * (size.active - 256 * size.width) + 64 * 256 * size.width)
    assert least < byte_lm.flops(case.workload) < 1.1 * least  # attention is the rest
