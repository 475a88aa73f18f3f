"""Our side's rollouts: each token is the likeliest with the noise that the peer gets, by probabilities that whole texts have."""

import jax
import numpy as np
import pytest

from experiments.benchmarks import cases, language_work, ours, workloads
from experiments.benchmarks.workloads import Workload
from tests.quickly import quickly

WORK = Workload("rollout", "tiny_byte_lm", batch=3, tokens=4, steps=5)


def test_a_token_is_the_largest_of_log_probabilities_and_given_noise_and_those_that_were_kept_are_those_of_whole_texts(tmp_path):
    ours.write_weights(WORK, tmp_path / "weights")
    given, side = ours.inputs(WORK, tmp_path / "weights"), ours.OurSide()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        side.prepare(**workloads.request(WORK, tmp_path, weights=tmp_path / "weights", given=given))
        side.output(str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as stored:
        scores, tokens = stored["output"], stored["tokens"]
    assert scores.shape == (3, 5, 32) and given["noise"].shape == (5, 3, 32)
    np.testing.assert_array_equal(scores.argmax(2), tokens)
    law = np.exp(scores - given["noise"].swapaxes(0, 1))  # the rollout kept one of each row, whole texts gave the others
    np.testing.assert_allclose(law.sum(2), 1, atol=1e-5)
    assert law.max() < 0.99 and len({*tokens.ravel()}) > 3


def test_the_case_counts_the_tokens_that_it_writes_and_has_a_peer_without_a_cache_of_transformers():
    (case,) = (case for case in cases.ALL if case.name == "rollout")
    assert case.modes == ("eager", "compiled") and case.workload.tokens_done == 16 * 64 and WORK.tokens_done == 15
    side = ours.OurSide()
    side.prepared["ours"] = (case.workload, None, "", {})
    size = language_work.size_of(case.workload)
    least = 2 * 16 * (95 * (size.active - 256 * size.width) + 64 * 256 * size.width)
    assert least < side.flops() < 1.1 * least  # attention is the rest
