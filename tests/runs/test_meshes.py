"""`run --mesh`: what it takes, and that it changes where a training lies and not what it learns."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs import errors, meshes, run_folder, runner, training_loop
from gendiff.runs.run_folder import Axes, RunFolder
from tests.runs import toy
from tests.tables import table


def run(out, *options):
    words = ["run", "toy", "--train-steps", "3", "--out", str(out), *options]
    return command_line.main(words, {"toy": toy.EXPERIMENT})


def test_axes_are_named_in_any_order():
    assert run_folder.axes("data=4,fsdp=2") == Axes(4, 2, 1)
    assert run_folder.axes("tensor=2") == Axes(None, 1, 2)
    assert run_folder.axes("fsdp=all") == Axes(1, None, 1) and run_folder.axes("tensor=2,data=all") == Axes(None, 1, 2)


@table(
    "text",
    [
        "",
        "4",
        "data",
        "data=0",
        "data=-1",
        "data=1.5",
        "rows=2",
        "data=1,data=2",
        "data=1,",
        "fsdp=two",
        "data=all,fsdp=all",
        "fsdp=allx",
    ],
)
def test_another_text_is_refused_before_a_folder_is_made(text, tmp_path, capsys):
    assert run(tmp_path / "run", "--mesh", text) == errors.USAGE
    assert "--mesh" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@table(
    ("text", "message"), [("data=64", "number of devices"), ("tensor=1,fsdp=64", "devices"), ("tensor=2", "no rules")]
)
def test_axes_that_do_not_fit_leave_nothing_behind(text, message, tmp_path, capsys):
    assert run(tmp_path / "run", "--mesh", text) == errors.USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_training_on_eight_devices_learns_the_same_along_any_axes(tmp_path):
    learned = []
    for axes in ("data=8", "data=4,fsdp=2", "fsdp=8"):
        command = [
            sys.executable,
            toy.__file__,
            "run",
            "toy",
            "--train-steps",
            "5",
            "--out",
            str(tmp_path / axes),
            "--mesh",
            axes,
        ]
        everything = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "8",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        done = subprocess.run(command, env=everything, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 and "over 8 cpu devices" in done.stdout, done.stdout + done.stderr
        learned.append(training_loop.restore_ema(toy.init, RunFolder(tmp_path / axes), seed=0, decay=0.9))
    for others in zip(*map(jax.tree.leaves, learned), strict=True):
        for other in others[1:]:
            np.testing.assert_allclose(others[0], other, atol=1e-6)


def test_a_network_with_rules_may_split_its_layers():
    count = jax.local_device_count()
    mesh = meshes.build(Axes(None, 1, count), (("kernel", (None, "tensor")),))
    assert dict(mesh.shape) == {"data": 1, "fsdp": 1, "tensor": count}
    with pytest.raises(ConfigError, match="no rules"):
        meshes.build(Axes(None, 1, 2), ())


@table("axis", ["data", "fsdp"])
def test_one_axis_takes_all_devices(axis):
    assert dict(meshes.build(run_folder.axes(f"{axis}=all"), ()).shape) == {"data": 1, "fsdp": 1, "tensor": 1} | {
        axis: jax.local_device_count()
    }


def test_a_preset_may_bring_a_mesh_and_an_option_another(tmp_path, monkeypatch):
    meshes_built = []
    monkeypatch.setattr(
        runner, "run", lambda experiment, config, folder, *rest, **more: meshes_built.append(folder.mesh)
    )
    with_mesh = dataclasses.replace(
        toy.EXPERIMENT, presets={**toy.EXPERIMENT.presets, "wide": toy.Config()}, meshes={"wide": "fsdp=all"}
    )
    for number, options in enumerate(((), ("--preset", "wide"), ("--preset", "wide", "--mesh", "data=1"))):
        assert (
            command_line.main(["run", "toy", "--out", str(tmp_path / str(number)), *options], {"toy": with_mesh})
            == errors.DONE
        )
    assert meshes_built == [Axes(), Axes(1, None, 1), Axes(1, 1, 1)]


def test_json_of_a_run_does_not_depend_on_the_mesh(tmp_path):
    assert run(tmp_path / "run", "--mesh", f"data={jax.local_device_count()}") == errors.DONE
    assert "mesh" not in json.loads((tmp_path / "run" / "config.json").read_text())["config"]
