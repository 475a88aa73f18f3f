"""The bench's peer for clips, torch, draws the same frames and takes the same step: a tiny network, without
compilation.
"""

import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from experiments.bench import duel
from experiments.bench.config import Config, Setting
from experiments.bench.workloads import Case, Workload

pytestmark = pytest.mark.peers


@pytest.mark.parametrize(("kind", "frames"), [("video_rollout", 5), ("video_train", 3)])
def test_both_sides_draw_the_same_frames_and_answer_the_same_after_two_steps(tmp_path, kind, frames):
    setting = Setting(Config(pairs=2, call_seconds=0.001), tmp_path, peer=Path(sys.executable))
    workload = Workload(kind, "tiny_video", batch=2, tokens=frames, steps=2)
    result = duel.fight(Case(kind, "", workload, left_out={"compiled": "it takes long"}), setting)
    assert result.difference < 1e-4 and set(result.tried) == {"eager"} and result.flops > 1e5
