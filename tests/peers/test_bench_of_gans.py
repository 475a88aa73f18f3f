"""The bench's peer for a GAN, torch, takes the same step of critic and generator: a tiny pair, in every mode that does
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


def test_both_sides_have_the_same_pictures_and_losses_after_two_steps(tmp_path):
    setting = Setting(Config(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    case = Case("dcgan", "", Workload("adversarial", "tiny_dcgan", batch=4), left_out={"compiled": "it takes long"})
    result = duel.fight(case, setting)
    assert result.difference < 1e-4 and set(result.tried) == {"eager", "channels_last"} and result.flops > 1e5
