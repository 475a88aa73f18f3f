"""The bench's peer for preferences, torch, writes the same tokens and takes the same update: a tiny model, without
compilation.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

import torch  # noqa: E402

from experiments.bench import byte_lm, duel, weights
from experiments.bench.config import Config, Setting
from experiments.bench.workloads import Case, Workload

pytestmark = pytest.mark.peers
ROLLOUT = Workload("rollout", "tiny_byte_lm", batch=4, tokens=8, steps=12)


@pytest.mark.parametrize(("kind", "tokens"), [("rollout", 48), ("ppo_step", 0)])
def test_both_sides_write_the_same_tokens_and_have_the_same_logits_values_and_loss_after_two_updates(
    tmp_path, kind, tokens
):
    setting = Setting(Config(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    workload = Workload(kind, "tiny_byte_lm", batch=4, tokens=8, steps=12)
    result = duel.fight(Case(kind, "", workload, left_out={"compiled": "it takes long"}), setting)
    assert (
        result.difference < 1e-4 and set(result.tried) == {"eager"} and result.flops > 1e5 and result.tokens == tokens
    )


def test_steps_of_one_shape_behind_a_mask_write_what_steps_that_see_the_tokens_so_far_write(tmp_path):
    """The former are what is compiled. The slots hold another rollout from before."""
    model = byte_lm.Trunk(ROLLOUT, weights.tensors(weights.folder(ROLLOUT, tmp_path), "cpu"))
    inputs = byte_lm.inputs(ROLLOUT)
    ids, noise = torch.from_numpy(inputs["ids"].copy()).long(), torch.from_numpy(inputs["noise"].copy())
    slots = byte_lm.empty(ROLLOUT, model, ids)
    with torch.inference_mode():
        plain = byte_lm.written(model, ids, noise, slots, byte_lm.advanced, fixed=False)
        byte_lm.written(model, ids.flip(0), noise, slots, byte_lm.advanced, fixed=True)
        masked = byte_lm.written(model, ids, noise, slots, byte_lm.advanced, fixed=True)
    np.testing.assert_array_equal(plain[0], masked[0])
    np.testing.assert_allclose(plain[1], masked[1], atol=1e-5)
