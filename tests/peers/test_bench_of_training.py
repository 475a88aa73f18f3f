"""The bench's peer for the training of language models, torch, takes the same step: a tiny one, in the mode that does
not compile.
"""

import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from experiments.bench import duel
from experiments.bench.config import Config, Setting
from experiments.bench.workloads import Case, Workload

pytestmark = pytest.mark.peers


def test_both_sides_have_the_same_logits_and_loss_after_two_steps(tmp_path):
    setting = Setting(Config(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    workload, later = Workload("next_token", "tiny_byte_lm", batch=4, tokens=32), {"compiled": "it takes long"}
    case = Case("next", "", workload, left_out=later, exact=True)
    result = duel.fight(case, setting)
    assert result.difference < 1e-4 and 0 < result.rounding < 4
    assert set(result.tried) == {"eager"} and result.flops > 1e5 and result.tokens == 128
