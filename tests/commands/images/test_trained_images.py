"""A trained run of images: its functions, the names of its classes, its judgement that goes on, and where it must not
lie.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, pipelines
from gendiff.commands.images import image_training
from gendiff.commands.train import facts
from gendiff.commands.train.config import Numbers
from gendiff.core.errors import DataError
from gendiff.diffusion import parameterization, schedules
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.shards import Shards
from tests.commands.images.test_images import command, photographs, run
from tests.tables import table

pytest.importorskip("grain")

described = image_training.description
SETS = ("--samples", "30", "--control-samples", "40", "--together", "8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert run(*command(photographs(folder / "photos", damaged=0), folder / "run", *SETS)) == 0
    return folder / "run"


def test_the_functions_of_an_opened_run_draw_what_sample_draws(trained, tmp_path):
    options = ("--num", "4", "--steps", "3", "--sampler", "ddim", "--seed", "2", "--out", str(tmp_path / "drawn.npz"))
    assert run("sample", str(trained), *options) == 0
    opened, index = pipelines.open_run(trained), jnp.arange(4)
    levels = diffusion.grids.trailing(opened.schedule, 3)
    denoise = opened.denoiser(index % opened.num_classes)
    images = diffusion.sample(jax.random.key(2), denoise, diffusion.samplers.ddim(), levels, opened.shape, index)
    with np.load(tmp_path / "drawn.npz") as stored:
        # rounded to a value of a byte
        np.testing.assert_allclose(stored["images"], np.clip(images, -1, 1), atol=1.01 / 127.5)
    assert opened.classes == ("dark", "light")


@pytest.mark.fault("other shape, structure or dtype on restore")
def test_parameters_of_another_parameterization_are_refused_by_sample(trained, tmp_path, monkeypatch, capsys):
    other = {"parameterization": parameterization.velocity(), "schedule": schedules.cosine(1000)}
    monkeypatch.setattr(
        image_training, "description", lambda description: described(dataclasses.replace(description, **other))
    )
    assert run("sample", str(trained), "--num", "1", "--out", str(tmp_path / "drawn.npz")) == 65
    message = capsys.readouterr().err
    assert "parameterization.name" in message and "velocity" in message and len(message) < 1000


def judged(folder):
    """What a judgement finds, and the bytes of its pictures."""
    outcome = json.loads((folder / "results.json").read_text())
    return outcome["tables"][:-1], {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.fault("SIGTERM while sampling")
def test_an_interrupted_judgement_goes_on_with_the_samples_that_it_has(trained, tmp_path, monkeypatch, capsys):
    folder, write, written = tmp_path / "run", Shards.write, []
    shutil.copytree(trained, folder)

    def counted(self, number, *arguments):
        write(self, number, *arguments)
        written.append(number)
        if len(written) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Shards, "write", counted)
    assert run("evaluate", str(folder)) == 42 and written == [0, 1, 2, 3, 0]
    (folder / "results.json").unlink()  # as if it had been the first
    assert run("train", *command(tmp_path, folder)[2:], *SETS, "--data", str(trained.parent / "photos")) == 0
    assert written == [0, 1, 2, 3, 0, 1, 2, 3] + 5 * [0, 1, 2, 3]
    assert "30 of 30 samples are there already" in (output := capsys.readouterr().out) and "8 of 30" in output
    assert judged(folder) == judged(trained) and not (folder / ".judged").exists()


def test_a_control_has_no_more_samples_than_what_it_controls(trained):
    sets = {row[0]: row[1] for row in judged(trained)[0][1]["rows"]}
    assert set(sets.values()) == {30}


def test_files_previews_and_figures_name_the_classes(trained, tmp_path):
    assert run("sample", str(trained), "--num", "3", "--steps", "2", "--out", str(tmp_path / "drawn")) == 0
    names = {path.name for path in (tmp_path / "drawn").glob("*.png")}
    assert names == {"000000_label0_dark.png", "000001_label1_light.png", "000002_label0_dark.png"}
    assert run("sample", str(trained), "--num", "3", "--steps", "2", "--out", str(tmp_path / "drawn.npz")) == 0
    with np.load(tmp_path / "drawn.npz") as stored:
        assert stored["classes"].tolist() == ["dark", "light"]
    assert "The classes in turn, from the left: dark, light." in (trained / "progress.html").read_text()
    outcome = json.loads((trained / "results.json").read_text())
    captions = {Path(figure["file"]).stem: figure["caption"] for figure in outcome["figures"]}
    assert captions["samples"] == "Samples, not selected. Columns: dark, light."
    assert captions["real"] == "Held-out pictures. Columns: dark, light."
    assert ["classes", "dark, light"] in outcome["tables"][0]["rows"]
    shares = {row[0]: row[2][0] for row in outcome["tables"][3]["rows"]}
    assert list(shares) == [
        "held-out pictures",
        *(f"seed 0{end}" for end in (", asked for another class", "", ", untrained network")),
    ]
    assert shares["seed 0"] + shares["seed 0, asked for another class"] == pytest.approx(1), "of two, one is another"


def test_a_run_folder_inside_of_the_pictures_is_refused_before_anything_is_decoded(trained, tmp_path, capsys):
    photos = photographs(tmp_path / "photos", damaged=0)
    before = sorted(photos.rglob("*"))
    assert run(*command(photos, photos / "dark/runs/run")) == 2
    message = capsys.readouterr().err
    assert "its previews would be taken for pictures" in message and sorted(photos.rglob("*")) == before
    assert re.search("--out ([^ ]+)$", message.strip()).group(1) == str(tmp_path / "runs/run")
    shutil.copytree(trained, photos / "light/run")
    assert run(*command(photos, tmp_path / "run")) == 65
    assert f"holds the run folder {photos / 'light/run'}" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_the_report_of_an_unfinished_run_names_its_newest_checkpoint(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/seed_0/6")
    (tmp_path / "run/results.json").unlink()
    assert run("report", str(tmp_path / "run")) == 0
    assert "seed 0 is at step 6, its newest checkpoint is that of step 3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.fault("evaluate without the last checkpoint")
def test_a_run_of_several_sets_is_judged_by_the_checkpoints_of_each(tmp_path, capsys):
    first, second = (photographs(tmp_path / name, damaged=0) for name in ("first", "second"))
    folder, sets = tmp_path / "run", ("--data", str(first), str(second))
    assert run("train", *command(first, folder)[2:], *SETS, *sets) == 0
    checkpoints = json.loads((folder / "results.json").read_text())["checkpoints"]
    assert [(each["part"], each["step"]) for each in checkpoints] == [("first", 6), ("second", 6)]
    shutil.rmtree(folder / "second/checkpoints/seed_0/6")
    capsys.readouterr()
    assert run("evaluate", str(folder)) == 65
    assert "its newest checkpoint is that of step 3, and its metrics end at step 6" in capsys.readouterr().err
    (folder / "results.json").unlink()
    assert run("report", str(folder)) == 0
    progress = "first, seed 0 is at step 6, its newest checkpoint is that of step 6; second, seed 0 is at step 6, its"
    output = " ".join(capsys.readouterr().out.split())
    assert progress in output and "Note" not in output


@table(("changes", "field"), [({"shape": [8]}, "shape"), ({"shape": [8, 0, 3]}, "shape"), ({"levels": 1}, "levels")])
def test_a_data_json_of_no_picture_is_refused_with_its_field(tmp_path, changes, field):
    data = facts.Data("photos", "", 40, 5, 0, (8, 8, 3), 256, ())
    stored = json_files.encode(facts.Facts(data, Numbers(1, 1, 1.0, 1)))
    json_files.write(tmp_path / "data.json", stored)
    assert facts.read(RunFolder(tmp_path)).data == data
    json_files.write(tmp_path / "data.json", stored | {"data": stored["data"] | changes})
    with pytest.raises(DataError, match=rf"data\.json: data\.{field}"):
        facts.read(RunFolder(tmp_path))
