"""Smoke runs of all studies. Those that a study's own tests go on with stand there."""

import jax
import numpy as np
import pytest

from experiments import catalogue
from gendiff import pipelines
from gendiff.runs import configuration, registry, training_loop
from gendiff.runs.run_folder import RunFolder
from tests.experiments.studies import smoke

OPENED = ("digits", "ddim-steps", "few-step", "audio", "guidance", "editing")
"""Studies whose run is a network of images."""
ELSEWHERE = ("certify", "invariance", "gan-stability", "gan-progressive", "multimodal", "video")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in smoke.LEAVES if name not in ELSEWHERE])
def test_a_smoke_run_leaves_everything_and_proves_nothing(name, tmp_path, capsys):
    outcome = smoke.run(name, tmp_path / "run", capsys)
    if name == "forward":  # nothing is trained, so that even a smoke run must be right
        assert {claim["verdict"] for claim in outcome["claims"]} == {"PASS"}
    if name in OPENED:
        check_opened(name, RunFolder(tmp_path / "run"))


def check_opened(name, folder):
    """What `open_run` reads is what `sample` draws with."""
    experiment = registry.load(name, catalogue.EXPERIMENTS)
    model_of, _ = experiment.sample.call.args
    expected = model_of(configuration.restore(configuration.read(folder), experiment.config, folder))
    opened = pipelines.open_run(folder.path)
    for part in ("predict", "schedule", "parameterization", "shape", "num_classes", "temperature"):
        assert getattr(opened, part) == getattr(expected, part)
    params = training_loop.restore_ema(expected.init, folder, seed=0, decay=expected.ema)
    jax.tree.map(np.testing.assert_array_equal, opened.params, params)
