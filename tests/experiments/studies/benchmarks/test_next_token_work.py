"""Our side's training step of a language model: what it counts, what it learns from, and that it changes every parameter."""

import jax
import numpy as np
import pytest

from experiments.benchmarks import cases, language_work, ours, workloads
from experiments.benchmarks.workloads import NETWORKS, Workload
from gendiff import networks
from gendiff.scaling import accounting, cost
from tests.quickly import quickly

WORK = Workload("next_token", "tiny_byte_lm", batch=2, tokens=8)


def test_a_text_has_one_id_more_than_it_trains_on_and_all_are_of_the_vocabulary():
    ids = workloads.arrays(WORK)["ids"]
    assert ids.shape == (2, 9) and 0 <= ids.min() and ids.max() < NETWORKS["tiny_byte_lm"].settings["vocab_size"]
    assert WORK.tokens_done == 16 and Workload("prefill", "tiny_smollm2", tokens=8).tokens_done == 0


@pytest.mark.parametrize("case", [case for case in cases.ALL if case.name.startswith("lm_train")], ids=lambda case: case.name)
def test_flops_are_those_of_the_layers_but_for_pairs_of_tokens_that_the_mask_hides(case):
    workload = case.workload
    size, side = language_work.size_of(workload), ours.OurSide()
    side.prepared["ours"] = (workload, None, "", {})
    tokens = jax.ShapeDtypeStruct((workload.batch, workload.tokens), np.int32)
    counted = accounting.count(ours.build(workload), tokens, embeddings=True)
    hidden = size.attention_flops(workload.tokens) - size.attention_flops(cost.mean_seen(workload.tokens))
    assert side.flops() == pytest.approx(counted.training_flops - 3 * workload.tokens_done * hidden)
    assert case.modes == ("eager", "compiled")


def test_the_three_sizes_have_the_parameters_that_their_cases_name():
    sizes = {case.name: ours.shapes(case.workload) for case in cases.ALL if case.name.startswith("lm_train")}
    counts = {name: networks.count(params) - 256 * params["token"].shape[1] for name, params in sizes.items()}
    assert counts == pytest.approx({"lm_train_small": 0.1e6, "lm_train_medium": 3.2e6, "lm_train_large": 25e6}, rel=0.05)


@pytest.mark.slow
def test_a_step_changes_every_parameter_and_answers_logits_and_the_loss(tmp_path):
    folder = tmp_path / "weights"
    ours.write_weights(WORK, folder)
    side = ours.OurSide()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        side.prepare(**workloads.request(WORK, tmp_path, weights=folder))
        before = ours.parameters(WORK, ours.build(WORK), str(folder))
        params, metrics = side.work["ours"]()
        changed = jax.tree.map(lambda old, new: float(np.abs(np.asarray(old) - np.asarray(new)).max()), before, params)
        assert min(jax.tree.leaves(changed)) > 1e-5 and float(metrics["nll"]) > 0
        side.output(str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["output"].shape == (8 * 32 + 1,) and np.isfinite(stored["output"]).all()
