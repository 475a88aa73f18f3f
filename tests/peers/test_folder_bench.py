"""The bench of Stable Diffusion, tiny: every case runs beside diffusers, and outputs agree."""

import os
import sys
from unittest import mock

import pytest

from experiments.bench import bench, bench_stable_diffusion, stable_diffusion_cases
from experiments.bench.config import FolderConfig
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

pytest.importorskip("diffusers", reason="needs torch, diffusers and transformers: make test-peers")

pytestmark = pytest.mark.peers


def test_every_case_runs_beside_diffusers_and_outputs_agree(tmp_path):
    config = FolderConfig(peers=True, pairs=2, call_seconds=0.02, tiny=True)
    with mock.patch.dict(os.environ, {"GENDIFF_PEERS_PYTHON": sys.executable}):
        outcome = bench.measure(bench_stable_diffusion.EXPERIMENT, config, RunFolder(tmp_path), Progress(), smoke=True)
    claims = {claim.id: claim for claim in outcome.claims}
    assert not [name for name in claims if name.endswith("_ran")], [
        claim.statement for claim in claims.values() if claim.id.endswith("_ran")
    ]
    agreeing = [f"sd_parts_{kind}" for kind in stable_diffusion_cases.PARTS] + ["sd_draw"]
    assert all(claims[name].verdict == "PASS" for name in agreeing), {name: claims[name].value for name in agreeing}
    assert claims.keys() >= {*agreeing, "sd_step", "sd_step_memory", "sdxl_bfloat16"}
