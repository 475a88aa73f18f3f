"""The benches of models that draw from prompts, tiny: every case runs beside diffusers, and outputs agree."""

import os
import sys
from unittest import mock

import pytest

from experiments.bench import bench, bench_full_size, bench_stable_diffusion, random_folders, stable_diffusion_cases
from experiments.bench.config import FolderConfig, FullSizeConfig
from experiments.bench.folder_settings import FOLDERS
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

diffusers = pytest.importorskip("diffusers", reason="needs torch, diffusers and transformers: make test-peers")
torch = pytest.importorskip("torch")

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


@pytest.mark.parametrize(("name", "count"), [("klein", 3_875_544_576), ("z_image", 6_154_908_736)])
def test_models_at_full_size_have_as_many_parameters_as_the_published_ones(name, count):
    config = FOLDERS[name].parts["transformer"]
    with torch.device("meta"):
        network = getattr(diffusers, config["_class_name"]).from_config(config)
    assert sum(array.numel() for array in network.parameters()) == count


def test_weights_in_several_files_are_read_by_diffusers(tmp_path, monkeypatch):
    monkeypatch.setattr(random_folders, "SHARD", 5_000)
    random_folders.write(tmp_path / "many", "tiny_klein", "bfloat16")
    for part in ("transformer", "vae"):
        kind = getattr(diffusers, FOLDERS["tiny_klein"].parts[part]["_class_name"])
        _, facts = kind.from_pretrained(tmp_path / "many" / part, output_loading_info=True)
        assert not any(facts.values()), (part, facts)


def test_steps_of_models_at_full_size_agree_with_diffusers(tmp_path):
    config = FullSizeConfig(peers=True, pairs=2, call_seconds=0.02, tiny=True)
    with mock.patch.dict(os.environ, {"GENDIFF_PEERS_PYTHON": sys.executable}):
        outcome = bench.measure(bench_full_size.EXPERIMENT, config, RunFolder(tmp_path), Progress(), smoke=True)
    assert {claim.id: claim.verdict for claim in outcome.claims} == dict.fromkeys(
        ("klein", "klein_step", "z_image", "z_image_step"), "PASS"
    )
