"""Presets of `run images` for large machines: their plans, and the settings that they bring, on small pictures here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import catalogue
from gendiff import networks
from gendiff.commands import command_line
from gendiff.commands.train import EXPERIMENT, named_networks
from gendiff.commands.train.config import PRESETS
from gendiff.runs import registry
from gendiff.runs.run_folder import RunFolder
from tests.commands.images.test_images import photographs
from tests.tables import table

pytest.importorskip("grain")
PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"), 360, damaged=0)


def plan(photos, preset, *options):
    words = ["run", "images", "--data", str(photos), "--preset", preset, *options, "--dry-run"]
    return command_line.main(words, catalogue.EXPERIMENTS)


@table("name", PRESETS)
def test_the_numbers_of_a_preset_fit_each_other(name):
    registry.check(EXPERIMENT, PRESETS[name])


def test_a_smoke_run_learns_the_classes(photos, tmp_path, capsys):
    words = ("train", str(photos), "--smoke", "--dry-run", "--out", str(tmp_path / "run"))
    assert command_line.main(words, catalogue.EXPERIMENTS) == 0
    assert "2 classes (dark, light)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "options", "parameters"),
    [
        ("unet-64", (), 38.3),
        ("imagenet-folder-256", (), 131),
        ("imagenet-folder-256", ("--network", "dit-l/16"), 459),
        ("imagenet-folder-256", ("--network", "dit-xl/16"), 676),
    ],
)
def test_the_plan_of_a_preset_names_its_network_and_what_it_costs(preset, options, parameters, photos, capsys):
    assert plan(photos, preset, *options) == 0
    output = capsys.readouterr().out
    config = PRESETS[preset]
    millions = float(output.split(" M parameters")[0].split(": ")[-1])
    assert abs(millions - parameters) < 0.03 * parameters, output
    assert (
        f"{config.size} × {config.size} × 3" in output and f"{config.steps} steps of {config.batch} pictures" in output
    )


def test_compute_and_remat_reach_the_network_and_leave_its_parameters_alone():
    plain = named_networks.build("dit-s/4", (8, 8, 3), 2)
    chosen = named_networks.build("dit-s/4", (8, 8, 3), 2, "bfloat16", "products")
    assert (plain.dtype, plain.remat, chosen.dtype, chosen.remat) == (None, False, "bfloat16", "products")
    assert named_networks.build("unet-small", (8, 8, 3), 2, "bfloat16", "all").remat is True
    example = (jnp.zeros((1, 8, 8, 3)), jnp.zeros((1,)), jnp.zeros((1,), jnp.int32))
    shapes = [
        jax.eval_shape(lambda network=network: networks.init(network, jax.random.key(0), *example))
        for network in (plain, chosen)
    ]
    assert shapes[0] == shapes[1] and {leaf.dtype for leaf in jax.tree.leaves(shapes[1])} == {jnp.dtype("float32")}


PROGRAM = """
import dataclasses, sys
from gendiff.commands.train import named_networks, train
from gendiff.commands.train.config import Config
from gendiff.runs import run_folder
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import Axes

photos, out = sys.argv[1:]
named_networks.WIDTHS["tiny"] = 48, 1, 2  # two devices share its MLP
config = Config(data=(photos,), size=8, network="lightning-dit-tiny/2", steps=3, batch=8, log_every=1, previews=4)
for name, axes in (("whole", Axes()), ("split", Axes(fsdp=2, tensor=2))):
    train.train(config, dataclasses.replace(run_folder.create(f"{out}/{name}"), mesh=axes), Progress())
"""


@pytest.mark.slow
def test_a_run_whose_parameters_and_layers_are_split_learns_what_a_whole_one_learns(photos, tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", PROGRAM, str(photos), str(tmp_path)]
    ended = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    losses = [[line["loss"] for line in RunFolder(tmp_path / name).read_metrics()] for name in ("whole", "split")]
    assert np.allclose(*losses, atol=1e-5) and len(losses[0]) == 3
    stored = [
        (tmp_path / name / "checkpoints" / "seed_0" / "3" / "state" / "_sharding").read_text()
        for name in ("whole", "split")
    ]
    assert [any("fsdp" in spec and "tensor" in spec for spec in _specs(text)) for text in stored] == [False, True]


def _specs(text):
    """The axes that each stored array was split along."""
    return [str(json.loads(each)["partition_spec"]) for each in json.loads(text).values()]
