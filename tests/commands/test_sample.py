"""The sample command: what it draws, where it writes, and what it refuses."""

import dataclasses
import functools
import itertools
import os
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gendiff.commands import command_line, drawing_options, drawing_programs
from gendiff.commands.images import image_sampling, sampling_options
from gendiff.commands.images.sample_files import SampleFiles
from gendiff.core.errors import ConfigError
from gendiff.diffusion import grids, schedules
from gendiff.diffusion.samplers import catalogue
from gendiff.runs import training_loop
from gendiff.runs.run_folder import RunFolder
from tests.runs import toy
from tests.tables import table


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "toy"
    assert (
        command_line.main(
            ["run", "toy", "--train-steps", "20", "--seeds", "0", "5", "--out", str(folder)], {"toy": toy.EXPERIMENT}
        )
        == 0
    )
    return folder


def sample(folder, *options, **changes):
    """Exit code of the command. changes: what the model has instead."""
    command = image_sampling.command(functools.partial(toy.model, **changes)) if changes else toy.EXPERIMENT.sample
    return command_line.main(
        ["sample", str(folder), *options], {"toy": dataclasses.replace(toy.EXPERIMENT, sample=command)}
    )


def samples(path):
    with np.load(path) as file:
        return dict(file)


def arrays(folder, out, *options, **changes):
    """What is in the archive that the command writes."""
    assert sample(folder, *options, "--out", str(out), **changes) == 0
    return samples(out)


def times(folder):
    """File of a folder -> when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_sample_is_the_same_drawn_alone_in_a_list_or_in_parts(trained, tmp_path):
    options = ("--steps", "5", "--eta", "1", "--guidance", "2", "--label", "1")
    batch = arrays(trained, tmp_path / "parts.npz", *options, "--num", "7", "--together", "3")
    assert (
        batch["images"].shape == (7, 2, 2, 1)
        and (batch["labels"] == 1).all()
        and (batch["index"] == np.arange(7)).all()
    )
    for index in ([4], [6, 1, 2]):
        some = arrays(trained, tmp_path / f"{len(index)}.npz", *options, "--index", ",".join(map(str, index)))
        assert np.array_equal(some["images"], batch["images"][index])


def test_settings_are_told_apart_and_samples_rounded_to_the_levels_of_the_data(trained, tmp_path):
    base, images = ("--steps", "2", "--sampler", "ddpm"), []
    for options in ((), ("--seed", "1"), ("--trained-seed", "5"), ("--temperature", "1.5"), ("--sampler", "euler")):
        result = arrays(trained, tmp_path / f"{len(images)}.npz", *base, *options)
        images.append(result["images"])
        levels = (result["images"] + 1) * 8
        assert np.allclose(levels, np.round(levels), atol=1e-5) and np.abs(result["images"]).max() <= 1
        assert result["labels"].tolist() == [0, 1] * 8, "16 samples, whose classes take turns"
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(images, 2))
    assert np.array_equal(arrays(trained, tmp_path / "warm.npz", *base, temperature=1.5)["images"], images[3])


def test_a_grid_is_chosen_by_name_and_resolved_knows_the_values_and_the_size_of_the_pictures(trained, tmp_path):
    base = ("--steps", "2", "--sampler", "ddpm")
    usual, other = (
        arrays(trained, tmp_path / f"{i}.npz", *base, *more)["images"]
        for i, more in enumerate([(), ("--grid", "resolved")])
    )
    assert not np.array_equal(usual, other)
    model, options = toy.model(None), sampling_options.SampleOptions
    low, high = grids.resolved_limits(model.schedule, resolution=2 / 16, norm=2.0)  # 17 values of 4 pixels
    for grid, between, expected in (
        ("trailing", (None, None), grids.trailing(model.schedule, 2)),
        ("resolved", (None, None), grids.log_snr(model.schedule, 2, sigma_min=low, sigma_max=high)),
        ("karras", (0.5, None), grids.karras(model.schedule, 2, sigma_min=0.5)),
    ):
        jax.tree.map(np.testing.assert_array_equal, drawing_programs.levels(grid, between, 2, model), expected)
    with pytest.raises(ConfigError, match="does not say how fine"):
        drawing_programs.levels("resolved", (None, None), 2, toy.model(None, levels=None))
    before = {"steps": 50, "guidance": 1.0, "sampler": "ddim", "eta": None, "temperature": None, "seed": 0}

    def settings(**fields):
        return sampling_options.settings(sampling_options.resolve(options(**fields), model))

    assert settings(sampler="ddim") == before, "or samples of earlier versions would be those of other settings"
    assert settings(grid="karras", sigma_min=0.5) == before | {"grid": "karras", "sigma_min": 0.5}


def test_pictures_whose_values_are_known_are_drawn_in_few_steps_unless_options_say_how(trained, tmp_path, capsys):
    few = {"steps": 8, "sampler": "unipc-2", "grid": "resolved", "temperature": 1.0}
    cases = (
        ({}, 17, few),
        ({"steps": 4, "temperature": 1.5}, 17, few | {"steps": 4, "temperature": 1.5}),
        ({"steps": 3}, 17, {"steps": 3, "sampler": "ddim", "grid": "trailing", "temperature": None}),
        ({}, None, {"steps": 50, "sampler": "ddim", "grid": "trailing", "temperature": None}),
        ({"sampler": "euler"}, 17, {"steps": 50, "sampler": "euler", "grid": "trailing", "temperature": None}),
        (
            {"grid": "resolved", "steps": 9},
            17,
            {"steps": 9, "sampler": "ddim", "grid": "resolved", "temperature": None},
        ),
        ({"eta": 0.5}, 17, {"steps": 50, "sampler": "ddim", "grid": "trailing", "temperature": None}),
    )
    for options, levels, expected in cases:
        result = sampling_options.resolve(sampling_options.SampleOptions(**options), toy.model(None, levels=levels))
        assert {name: getattr(result, name) for name in few} == expected
        assert sampling_options.resolve(result, toy.model(None, levels=levels)) == result
    explicit = [word for name, value in few.items() for word in (f"--{name}", str(value))]
    free, named = (arrays(trained, tmp_path / f"{len(words)}.npz", *words)["images"] for words in ((), explicit))
    np.testing.assert_array_equal(free, named)
    assert "8 steps of unipc-2" in capsys.readouterr().out


def test_the_parameters_drawn_from_are_the_averaged_ones_of_the_checkpoint(trained):
    fast, slow = (training_loop.restore_ema(toy.init, RunFolder(trained), seed=0, decay=decay) for decay in (0.9, 0.99))
    assert abs(fast["scale"] - 1) > abs(slow["scale"] - 1) > 0
    for decay in (0.5, None):
        with pytest.raises(ConfigError, match="there are 0.9, 0.99"):
            training_loop.restore_ema(toy.init, RunFolder(trained), seed=0, decay=decay)


def test_samples_beside_a_training_come_from_the_step_that_they_name(trained, tmp_path, monkeypatch):
    before = tmp_path / "before"
    shutil.copytree(trained, before)
    shutil.rmtree(before / "checkpoints/seed_0/20")
    older = training_loop.newest_step(RunFolder(before), 0)
    expected = arrays(before, tmp_path / "before.npz")["images"]
    monkeypatch.setattr(training_loop, "newest_step", lambda folder, seed: older)  # 20 is written just after that
    np.testing.assert_array_equal(arrays(trained, tmp_path / "beside.npz")["images"], expected)


def test_a_grid_and_an_archive_are_replaced_only_by_force(trained, tmp_path, capsys):
    options = ("--steps", "2", "--index", "3,8", "--label", "0", "--out")
    for name in ("grid.png", "archive.npz"):
        (tmp_path / name).write_bytes(b"old")
        assert sample(trained, *options, str(tmp_path / name)) == 2
        assert "exists: add --force" in capsys.readouterr().err
        assert sample(trained, *options, str(tmp_path / name), "--force") == 0
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size[0] > image.size[1] and image.mode == "L"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.npz", "grid.png"]


def test_a_folder_holds_one_png_per_sample_and_takes_further_samples_of_the_same_settings(trained, capsys):
    options, folder = ("--steps", "2", "--label", "0"), trained / "samples"
    assert sample(trained, *options, "--index", "3,8") == 0
    before = times(folder)
    assert before.keys() == {"000003_label0.png", "000008_label0.png", "samples.json"}
    with Image.open(folder / "000003_label0.png") as image:
        assert image.size == (2, 2) and image.mode == "L"
    assert sample(trained, *options, "--index", "3,5,8") == 0
    assert "2 of 3 samples are there already" in capsys.readouterr().out
    assert before.items() <= times(folder).items()
    other = ("--steps", "2", "--seed", "1", "--index", "3")
    assert sample(trained, *other) == 2
    assert "samples of other settings" in (message := capsys.readouterr().err) and "options.seed  0" in message
    assert sample(trained, *other, "--force") == 0
    assert times(folder).keys() == {"000003_label1.png", "samples.json"}
    shutil.rmtree(folder)


@pytest.mark.fault("SIGTERM while sampling")
@pytest.mark.parametrize("name", ["folder", "archive.npz"])
def test_an_interrupted_command_has_saved_what_it_drew_and_goes_on_from_there(
    name, trained, tmp_path, monkeypatch, capsys
):
    options, write = ("--num", "6", "--together", "2", "--steps", "2", "--out", str(tmp_path / name)), SampleFiles.write

    def interrupted(self, *arguments):
        write(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(SampleFiles, "write", interrupted)
        assert sample(trained, *options) == 42
    assert "what is finished is saved" in capsys.readouterr().err
    (folder,) = tmp_path.iterdir()
    before = times(folder)
    assert len(before) == 3 and "samples.json" in before
    assert sample(trained, *options) == 0
    assert "2 of 6 samples are there already" in capsys.readouterr().out
    (out,) = tmp_path.iterdir()
    if name == "folder":
        assert len(times(out)) == 7 and before.items() <= times(out).items()
    else:
        assert samples(out)["index"].tolist() == [*range(6)] and samples(out)["images"].shape == (6, 2, 2, 1)


@pytest.mark.fault(
    "command line: unknown or misspelt option", "guidance: NaN or negative scale", "guidance: label ≥ classes"
)
@table(
    ("options", "hint"),
    [
        ("--num 3 --index 0:3", "--num 3 is short for --index 0:3"),
        ("--label 2", "the model knows 2 classes"),
        ("--lable 1", "--label"),
        ("--index 5:5", "at least one"),
        ("--index 3:x", "FIRST:END"),
        ("--index=-1", "from 0"),
        ("--steps 51 --grid trailing", "[1, 50]"),
        ("--eta 1.5", "[0, 1]"),
        ("--eta 0.5 --sampler euler", "--sampler euler has no such number"),
        ("--sampler ddmi", "did you mean 'ddpm'?"),
        ("--sampler flux", "there are: ddim"),
        ("--grid trialing", "did you mean 'trailing'?"),
        ("--sigma-min 0.1", "--sigma-min 0.1 belongs to --grid karras or log_snr"),
        ("--grid resolved --sigma-max 9", "--grid resolved finds its own levels"),
        ("--grid karras --sigma-min 9 --sigma-max 2", "0 < sigma_min < sigma_max"),
        ("--temperature 0", "(0, inf)"),
        ("--guidance nan", "[0, inf)"),
        ("--out samples.jpg", ".png"),
        ("--out nowhere/samples.png", "absent or not writable"),
        ("--out s3://bucket/samples.png", "is a URL"),
    ],
)
def test_a_mistake_exits_2_writes_nothing_and_hints_at_the_cure(trained, options, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sample(trained, "--out", str(tmp_path / "x.png"), *options.split()) == 2
    message = capsys.readouterr().err
    assert hint in message and len(message.splitlines()) <= command_line.MOST_LINES
    assert not list(tmp_path.iterdir())


def test_every_sampler_of_the_library_has_a_name_on_the_command_line():
    expected = {method.name for method in catalogue.METHODS.values() if method.make and not method.learned_variance}
    assert {name.replace("-", " ") for name in drawing_options.SAMPLERS} - {"ddpm"} == expected
    for name in drawing_options.SAMPLERS:
        assert drawing_programs.sampler(name, None, schedules.cosine(50)).evaluations(10) >= 10


def test_force_never_replaces_what_is_no_samples(trained, tmp_path, capsys):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "thesis.tex").write_text("")
    assert sample(trained, "--out", str(folder), "--force") == 2
    assert "holds more than samples" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert sample(trained, "--out", str(tmp_path / "file"), "--force") == 2
    assert (folder / "thesis.tex").exists()


@pytest.mark.fault("NaN while sampling")
def test_samples_that_are_not_finite_are_named_and_not_written(trained, tmp_path, capsys):
    def broken(params, x, t, label):
        return jnp.where((label == 1)[:, None, None, None], jnp.nan, x)

    assert sample(trained, "--index", "4:8", "--steps", "2", "--out", str(tmp_path / "x.png"), predict=broken) == 3
    assert "2 of 4 samples are not finite" in (message := capsys.readouterr().err) and "indices: 5, 7" in message
    assert not list(tmp_path.iterdir())


def test_an_unconditional_model_takes_no_label_and_no_guidance(trained, tmp_path):
    plain = {"num_classes": 0, "predict": lambda params, x, t: params["scale"] * x}
    for option, value in (("--label", "1"), ("--guidance", "2")):
        assert sample(trained, "--out", str(tmp_path / "x.npz"), option, value, **plain) == 2
    assert (arrays(trained, tmp_path / "x.npz", "--steps", "2", **plain)["labels"] == -1).all()


@pytest.mark.fault("flipped byte in a checkpoint")
def test_a_damaged_or_missing_checkpoint_exits_65(trained, tmp_path, capsys):
    copy, out = tmp_path / "copy", str(tmp_path / "x.png")
    shutil.copytree(trained, copy)
    toy.damage(copy / "checkpoints" / "seed_0" / "20" / "state")
    assert sample(copy, "--out", out) == 65
    assert "step 20 is corrupt" in capsys.readouterr().err
    shutil.rmtree(copy / "checkpoints")
    assert sample(copy, "--out", out) == 65
    assert not Path(out).exists()


@pytest.mark.fault("other shape, structure or dtype on restore")
def test_a_network_of_another_shape_is_refused_with_a_table(trained, tmp_path, capsys):
    wider = {"init": lambda key: toy.init(key) | {"bias": jnp.zeros((4, 4, 1))}}
    assert sample(trained, "--out", str(tmp_path / "x.png"), **wider) == 65
    message = capsys.readouterr().err
    assert "bias" in message and "float32(2, 2, 1)" in message and "float32(4, 4, 1)" in message
