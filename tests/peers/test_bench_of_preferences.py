"""The bench's peer for preferences, torch, writes the same tokens and takes the same update: a tiny model, without compilation."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

import torch  # noqa: E402

from experiments.benchmarks import duel, ours, torch_next_token, torch_rollout
from experiments.benchmarks.config import Config, Setting
from experiments.benchmarks.duel import Case
from experiments.benchmarks.workloads import Workload

pytestmark = pytest.mark.peers
ROLLOUT = Workload("rollout", "tiny_byte_lm", batch=4, tokens=8, steps=12)


@pytest.mark.parametrize(("kind", "tokens"), [("rollout", 48), ("ppo_step", 0)])
def test_both_sides_write_the_same_tokens_and_have_the_same_logits_values_and_loss_after_two_updates(tmp_path, kind, tokens):
    setting = Setting(Config(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    workload = Workload(kind, "tiny_byte_lm", batch=4, tokens=8, steps=12)
    found = duel.fight(Case(kind, "", workload, left_out={"compiled": "it takes long"}), setting)
    assert found.difference < 1e-4 and set(found.tried) == {"eager"} and found.flops > 1e5 and found.tokens == tokens


def test_steps_of_one_shape_behind_a_mask_write_what_steps_that_see_the_tokens_so_far_write(tmp_path):
    """The former are what is compiled. The slots hold another rollout from before."""
    ours.write_weights(ROLLOUT, tmp_path / "weights")
    module = torch_next_token.opened(ROLLOUT, tmp_path / "weights").eval()
    given = ours.inputs(ROLLOUT, tmp_path / "weights")
    ids, noise = torch.from_numpy(given["ids"].copy()).long(), torch.from_numpy(given["noise"].copy())
    slots = torch_rollout.empty(ROLLOUT, module, ids)
    with torch.inference_mode():
        plain = torch_rollout.written(module, ids, noise, slots, torch_rollout.advanced, fixed=False)
        torch_rollout.written(module, ids.flip(0), noise, slots, torch_rollout.advanced, fixed=True)
        masked = torch_rollout.written(module, ids, noise, slots, torch_rollout.advanced, fixed=True)
    np.testing.assert_array_equal(plain.tokens, masked.tokens)
    np.testing.assert_allclose(plain.log_probs, masked.log_probs, atol=1e-5)
