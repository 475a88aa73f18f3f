"""`run images` on a tiny folder of pictures: it trains, judges, draws and resumes, and says what is wrong before it
compiles.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.commands.images import sampling_options
from gendiff.commands.images.sampling_options import SampleOptions
from gendiff.commands.train import data_paths, facts, opened_pictures, plan, preview
from gendiff.commands.train.config import Config
from gendiff.commands.train.facts import Data
from gendiff.commands.train.training_cost import Cost
from gendiff.core.errors import ConfigError, DataError
from gendiff.data.images import image_files
from gendiff.runs import configuration, goodput, training_loop
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.training.checkpoints import Checkpoints
from tests.tables import table

pytest.importorskip("grain")

PROJECT = Path(__file__).resolve().parents[3]
TRAINING = tuple("--size 8 --network dit-tiny/2 --steps 6 --batch 4 --checkpoint-every 3 --log-every 1".split())
JUDGING = (
    *(
        "--sampling-steps",
        "2",
        "--samples",
        "12",
        "--control-samples",
        "12",
        "--together",
        "12",
        "--draws",
        "2",
        "--draw-size",
        "10",
    ),
    *("--level-pictures", "6", "--features", "pixels", "--previews", "12"),
)


def photographs(folder, count=40, damaged=2, classes=2):
    """Pictures of two classes, dark and light, or of more, of several kinds and sizes; some of them damaged."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / {0: "light", 1: "dark"}.get(i % classes, str(i)) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (9 + i % 3, 12, 3)).astype(np.uint8) + np.uint8(100 * (i % 2 == 0))
        Image.fromarray(pixels).convert("L" if i % 5 == 0 else "RGB").save(path)
    for i in range(damaged):
        (folder / "dark" / f"damaged_{i}.jpg").write_text("no picture")
    return folder


def copies(folder, count, channels=3):
    """One black picture so many times, all of it transparent if it has 4 channels."""
    folder.mkdir()
    for i in range(count):
        Image.fromarray(np.zeros((9, 9, channels), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"))


def run(*words):
    return command_line.main(words, catalogue.EXPERIMENTS)


def command(photos, out, *more):
    return ("train", str(photos), *TRAINING, "--ema-snapshots", "3", *JUDGING, "--out", str(out), *more)


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run(*command(photos, out, "--on-bad-image", "skip")) == 0
    return out


def test_a_run_on_a_folder_leaves_figures_and_no_verdict(trained):
    outcome = json.loads((trained / "results.json").read_text())
    assert outcome["verdict"] == "NONE" and outcome["claims"] == []
    assert {"real.png", "samples.png", "nearest.png", "levels.png", "loss.png", "frechet.png", "ema_lengths.png"} <= {
        path.name for path in trained.iterdir()
    }
    learned, measured, more, _, lengths, times = outcome["tables"]
    assert [row[0] for row in lengths["rows"]] == [0.03, 0.05, 0.08, 0.12, 0.2] and all(
        row[2][0] > 0 for row in lengths["rows"]
    )
    assert (
        ["skipped", 2] in learned["rows"]
        and ["classes", "dark, light"] in learned["rows"]
        and ["steps", 6] in learned["rows"]
    )
    rows = {row[0]: row for row in measured["rows"]}
    assert list(rows) == ["real training pictures", "a Gaussian of the pixels", "seed 0", "seed 0, untrained network"]
    assert rows["real training pictures"][2][0] == 1 and [row[0] for row in more["rows"]] == list(rows)
    assert measured["main"] and "8 held-out pictures are few" in measured["note"]
    assert outcome["chosen"] == {
        "mode": "RGB",
        "held_out": "8 pictures",
        "learning_rate": "0.001",
        "preview_every": "1",
    }
    assert times["title"] == goodput.TITLE and times["rows"][-1][1] > 0


def test_progress_shows_the_loss_and_every_grid_and_stops_reading_itself_again(trained):
    page = (trained / "progress.html").read_text()
    assert "6 of 6" in page and "<polyline" in page and "http-equiv=" not in page
    files = sorted(path.name for path in (trained / "progress").iterdir())
    assert files == [f"seed_0_step_000000{step}.png" for step in range(1, 7)] and all(file in page for file in files)
    with Image.open(trained / "progress" / files[0]) as grid:
        side = (grid.width - 7 * 4) // 8
        assert grid.size == (8 * side + 7 * 4, 4 * side + 3 * 4), (
            "8 samples and 4, and their nearest training pictures below them"
        )


def files_left(folder):
    """What may not depend on how often a run was killed."""
    grids = {path.name: path.read_bytes() for path in (folder / "progress").iterdir()}
    averages = {length: restored(folder, length) for length in (None, 0.05, 0.07)}
    return grids | {"metrics": (folder / "metrics.jsonl").read_bytes(), "averages": averages}


def restored(folder, length=None):
    """The bytes of an average: the run's own, or that of a length that its snapshots give."""
    path = RunFolder(folder)
    config = configuration.restore(configuration.read(path), Config, path)
    init = facts.model(facts.described(config, path)).init
    of_length = length and training_loop.restore_length(init, path, seed=0, relative_std=length)
    average = of_length[0] if of_length else training_loop.restore_ema(init, path, seed=0)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(average)]


@pytest.mark.slow
@pytest.mark.fault("kill -9 anywhere, then resume")
def test_a_run_that_died_between_grids_ends_as_one_that_did_not(photos, trained, tmp_path, monkeypatch):
    class Died(BaseException):
        pass

    on_state = preview.Previews.on_state

    def dies(self, step, state):
        on_state(self, step, state)
        if step == 5:
            raise Died

    out = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(preview.Previews, "on_state", dies)
        run(*command(photos, out, "--on-bad-image", "skip"))
    assert run(*command(photos, out, "--on-bad-image", "skip")) == 0
    assert files_left(out) == files_left(trained)


def test_the_same_command_leaves_a_finished_run_alone(photos, trained, capsys):
    assert run(*command(photos, trained, "--on-bad-image", "skip")) == 0
    assert "is finished already" in capsys.readouterr().out


def test_samples_need_no_pictures_and_know_the_names_of_the_classes(trained, photos, tmp_path):
    alone = tmp_path / "run"
    shutil.copytree(trained, alone)
    shutil.rmtree(alone / ".pictures")
    data = json.loads((alone / "data.json").read_text())
    data["data"]["place"] = str(tmp_path / "gone")
    (alone / "data.json").write_text(json.dumps(data))
    assert (
        run("sample", str(alone), "--num", "3", "--steps", "2", "--label", "light", "--out", str(tmp_path / "x.npz"))
        == 0
    )
    with np.load(tmp_path / "x.npz") as on_state:
        assert on_state["images"].shape == (3, 8, 8, 3) and on_state["labels"].tolist() == [1, 1, 1]
    assert run("report", str(alone)) == 0


def test_samples_come_from_an_average_of_any_length_and_a_stored_one_is_the_track_itself(trained, tmp_path, capsys):
    with Checkpoints(trained / "checkpoints" / "seed_0", read_only=True) as store:
        held = {
            path: leaf
            for path, leaf in store.restore(None, store.contents()).state.items()
            if path.startswith("tracks/power_0.05/")
        }
    assert sorted(restored(trained, 0.05)) == sorted(np.asarray(leaf).tobytes() for leaf in held.values())

    def draw(name, *options):
        code = run("sample", str(trained), "--num", "3", "--steps", "2", "--out", str(tmp_path / name), *options)
        return code or np.load(tmp_path / name)["images"]

    assert np.abs(draw("own.npz") - draw("long.npz", "--ema", "0.25")).max() > 1e-4
    assert "the average of length 0.25 at step 6, from snapshots; its profile is missed by" in capsys.readouterr().out
    assert draw("no.npz", "--ema", "0.5") == 2 and "relative_std = 0.5 is outside" in capsys.readouterr().err
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("snapshots"))
    assert run("sample", str(tmp_path / "run"), "--ema", "0.1") == 2
    assert "kept no snapshots of averages; train with --ema-snapshots 20" in capsys.readouterr().err


@pytest.mark.fault("missing data")
def test_evaluate_says_that_the_pictures_are_gone_or_others(trained, photos, tmp_path, capsys):
    moved = tmp_path / "photos"
    shutil.copytree(photos, moved)
    alone = tmp_path / "run"
    shutil.copytree(trained, alone)
    data = json.loads((alone / "data.json").read_text())
    data["data"]["place"] = str(moved)
    (alone / "data.json").write_text(json.dumps(data))
    next((moved / "light").iterdir()).unlink()
    assert run("evaluate", str(alone)) == 65
    assert "the pictures have changed" in capsys.readouterr().err
    shutil.rmtree(moved)
    assert run("evaluate", str(alone)) == 65
    assert "the pictures are gone" in capsys.readouterr().err


BAD = {
    "no such folder": (lambda path: path / "none", (), 65, "no such"),
    "empty folder": (lambda path: path / "empty", (), 65, "no images"),
    "one picture": (
        lambda path: photographs(path, 1, 0),
        (),
        65,
        "photos: 1 picture is too few: at least 20 are needed",
    ),
    "copies of one picture": (
        lambda path: copies(path, 30),
        (),
        65,
        "photos: --held-out 0.2 of 30 pictures, 1 of them different",
    ),
    "classes of a picture": (lambda path: photographs(path, 30, 0, 30), (), 65, "is held out, so that none is learned"),
    "a URL": (lambda path: "https://example.org/photos", (), 65, "https://example.org/photos: URLs are not downloaded"),
    "transparent pictures": (
        lambda path: copies(path, 30, 4),
        (),
        65,
        "; pass --background 255 255 255 to lay it over white",
    ),
    "damaged pictures": (lambda path: photographs(path, 24, 2), (), 65, "--on-bad-image skip"),
    "all damaged": (lambda path: photographs(path, 0, 0) / "all", ("--on-bad-image", "skip"), 65, "all"),
    "a network that does not exist": (photographs, ("--network", "unet-smal"), 2, "did you mean 'unet-small'"),
    "a rate of Muon without Muon": (photographs, ("--muon-learning-rate", "0.1"), 2, "is for --optimizer muon"),
    "a batch above the pictures": (lambda path: photographs(path, 24, 0), ("--batch", "50"), 2, "--batch 50"),
    "patches that do not divide": (
        lambda path: photographs(path, 24, 0),
        ("--network", "dit-s/8", "--size", "12"),
        2,
        "do not divide",
    ),
    "a share out of range": (photographs, ("--held-out", "1.5"), 2, "--held-out 1.5"),
    "inception without weights": (photographs, ("--features", "inception"), 2, "--inception-weights"),
}


@pytest.mark.fault(
    "missing data",
    "unreadable image",
    "a class whose pictures are all held out",
    "command line: unknown or misspelt option",
    "command line: batch > data",
)
@table("case", BAD)
def test_what_cannot_be_learned_from_is_said_before_anything_is_compiled(case, tmp_path, capsys):
    make, options, code, words = BAD[case]
    photos = tmp_path / "photos"
    (photos / "empty").mkdir(parents=True)
    (photos / "all").mkdir()
    for name in "ab":
        (photos / "all" / f"{name}.png").write_text("no picture")
    if case not in ("no such folder", "empty folder", "all damaged"):
        shutil.rmtree(photos)
    out = tmp_path / "run"
    assert run(*command(make(photos), out, *options)) == code
    output = capsys.readouterr()
    assert (
        words in output.err
        and len(output.err.splitlines()) <= 12
        and "compiling" not in output.out
        and "train:" not in output.out
    )
    if case not in ("damaged pictures", "all damaged", "transparent pictures"):
        assert not out.exists()
    else:
        assert os.listdir(out) == ["bad_files.txt"]
        assert run(*command(photos, out, *options)) == code, "the list does not make it another folder"


@pytest.mark.fault("command line: wrong type", "command line: unknown or misspelt option")
@table(
    ("words", "message"),
    [
        (("photos",), "photos belongs to no option; did you mean --data photos?"),
        (("--data",), "--data (nothing): it must be 1 or more values .* as in --data emoji textures"),
        (
            ("--background", "white"),
            "--background white: it must be 3 values .* from 0 to 255, or None, as in --background 255 255 255",
        ),
        (("--size", "big"), "--size big: it must be a whole number from 1 to 8192, or None, as in --size 64"),
        (("--size",), "--size (nothing): .*"),
        (("--ema", "much"), "--ema much: it must be a finite number at least 0 and below 1, as in --ema 0.999"),
        (("--seed", "x"), "--seed x: it must be a whole number, or None, as in --seed 1"),
    ],
)
def test_a_wrong_value_is_one_line_with_what_the_option_takes_and_an_example(words, message, capsys):
    assert run("run", "images", *words) == 2
    assert re.fullmatch(
        "error: " + message.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?") + "\n", capsys.readouterr().err
    )


def test_a_misspelt_path_of_data_is_said_before_anything_else(photos, tmp_path, capsys):
    assert run(*command(photos.with_name(photos.name + "x"), tmp_path / "run")) == 65
    output = capsys.readouterr()
    assert (
        "no such file or folder" in output.err
        and f"did you mean '{photos.name}'?" in output.err
        and not output.out
        and not (tmp_path / "run").exists()
    )


def test_the_old_spelling_of_train_goes_on_and_says_the_new_one(tmp_path, capsys):
    assert run("run", "images", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")) == 65
    assert "python -m experiments train DATA" in capsys.readouterr().out


@pytest.mark.fault("unreadable image")
def test_all_bad_pictures_are_counted_by_reason_and_listed_in_a_file_that_is_named(tmp_path):
    photos, run_of = photographs(tmp_path / "photos", 24, 7), RunFolder(tmp_path)
    (photos / "Thumbs.db").write_text("")
    Image.new("RGBA", (4, 4)).save(photos / "light" / "clear.png")
    config = Config(data=(str(photos),), size=9)
    with pytest.raises(DataError) as raised:
        opened_pictures.open_pictures(config, str(photos), run_of)
    lines, file = str(raised.value).splitlines(), tmp_path / "bad_files.txt"
    assert lines[-1] == f"all of them: {file}" and len(set(lines)) == len(lines) == 8
    assert "8 of 32 files cannot be used: not a whole image (7), has transparent pixels (1); " in lines[-2]
    assert (
        len(set(file.read_text().splitlines())) == 8 and "pass --background 255 255 255 to lay it" in file.read_text()
    )
    skipping = opened_pictures.open_pictures(
        dataclasses.replace(config, on_bad_image="skip", size=11), str(photos), run_of
    )
    assert skipping.listed == file and skipping.enlarged == (16, 11), (
        "9 or 10 of 12 pixels, and not the skipped one of 4"
    )
    output = plan.of_data(facts.summarize(config, str(photos), skipping), skipping)
    assert (
        output[1] == "8 skipped: not a whole image (7), has transparent pixels (1)"
        and output[5] == f"  all of them: {file}"
    )
    file.write_text(f"{photos}2/a.png: of another set\n" + file.read_text())
    opened_pictures.open_pictures(
        dataclasses.replace(config, background=(0, 0, 0), on_bad_image="skip"), str(photos), run_of
    )
    assert len(file.read_text().splitlines()) == 8 and f"{photos}2" in file.read_text()
    shutil.rmtree(photos / "dark"), file.write_text(f"{photos}/gone.png: no longer bad\n")
    photographs(photos, 40, 0)
    opened_pictures.open_pictures(dataclasses.replace(config, background=(0, 0, 0)), str(photos), run_of)
    assert not file.exists()


def test_several_sets_have_run_folders_of_their_own(tmp_path):
    folder = RunFolder(tmp_path)
    both, one = Config(), Config(data=("textures",))
    assert [(name, path.path) for name, path in facts.places(both, folder)] == [
        (name, folder.path / name) for name in ("emoji", "textures")
    ]
    assert [path.path for _, path in facts.places(one, folder)] == [tmp_path]
    with pytest.raises(ConfigError, match="run folder of its own"):
        facts.described(both, folder)
    run_config = configuration.settle(folder, configuration.Resolved("images", "full", False, json_files.encode(both)))
    facts.begin(folder, RunFolder(tmp_path / "emoji"), both, "emoji")
    part = configuration.read(RunFolder(tmp_path / "emoji"))
    assert part.entry_of == "data" and part.config == run_config.config | {"data": ["emoji"]}
    with pytest.raises(ConfigError, match="last names differ"):
        data_paths.labels(Config(data=("a/photos", "b/photos")))


@table(("platform", "steps", "batch"), [("cpu", 2500, 32), ("gpu", 11_700, 128)])
def test_steps_and_batch_follow_from_data_and_device(platform, steps, batch):
    data = Data("photos", "", 10_000, 500, 0, (32, 32, 3), 256, ())
    numbers = plan.numbers(Config(), data, Cost(9.12e8, 880_000, 3_750_000), platform)
    assert (numbers.steps, numbers.batch, numbers.preview_every) == (steps, batch, steps // 20)
    few = dataclasses.replace(data, training=50)
    assert plan.numbers(Config(), few, Cost(9.12e8, 880_000, 3_750_000), platform, devices=4).batch in (32, 48)
    with pytest.raises(ConfigError, match="multiple of the 4 devices"):
        plan.numbers(Config(batch=6), data, Cost(1.0, 1, 1), platform, devices=4)


def test_a_class_has_a_name_or_a_number():
    names = ("cats", "1", "dogs")
    assert sampling_options.numbered(SampleOptions(label="dogs"), names, 3).label == 2
    assert sampling_options.numbered(SampleOptions(label=1), names, 3).label == 1
    assert sampling_options.numbered(SampleOptions(label=0), names, 3).label == 0
    with pytest.raises(ConfigError, match="did you mean 'dogs'"):
        sampling_options.numbered(SampleOptions(label="dog"), names, 3)
    with pytest.raises(ConfigError, match="have no names, give 0 … 2"):
        sampling_options.numbered(SampleOptions(label="dog"), (), 3)
    with pytest.raises(ConfigError, match="this one has none"):
        sampling_options.labels(sampling_options.numbered(SampleOptions(label="dog"), (), 0), 0, np.arange(2))


def test_a_dry_run_prints_the_plan_and_leaves_nothing(photos, tmp_path, capsys):
    out = tmp_path / "run"
    options = ("--network", "dit-tiny/4", "--on-bad-image", "skip", "--dry-run", "--out", str(out))
    assert run("run", "images", "--data", str(photos), *options) == 0
    output = capsys.readouterr().out
    assert (
        not out.exists() and "32 pictures to learn from and 8 held out, 64 × 64 × 3, 2 classes (dark, light)" in output
    )
    assert "2 skipped: not a whole image (2)" in output and "note: 32 pictures are few" in output
    assert "note: 40 of 40 pictures are smaller than 64 pixels and are enlarged" in output
    words = ("on a CPU: dit-tiny/4", "on an accelerator: dit-tiny/4", "FLOP per step", "memory per device")
    assert [each for each in words if each not in output] == []
    memory = re.findall(r"memory per device: ([0-9.]+) (\w+)", output)[0]
    assert run("run", "images", "--data", str(photos), *options, "--optimizer", "muon") == 0
    value, unit = re.findall(r"memory per device: ([0-9.]+) (\w+)", capsys.readouterr().out)[0]
    assert (float(value), unit) == (pytest.approx(float(memory[0]) * 4 / 5, rel=0.02), memory[1])
    assert run(*command(photos, out, "--on-bad-image", "skip", "--dry-run")) == 0
    assert "note: 6 steps are few: samples will look like noise" in capsys.readouterr().out
    assert run("run", "digits", "--dry-run", "--out", str(out)) == 2
    assert "digits has no plan" in capsys.readouterr().err


def test_prepared_pictures_are_not_decoded_again_and_change_nothing(photos, trained, tmp_path, monkeypatch, capsys):
    prepared = ("--cache", str(tmp_path / "cache"))
    assert run("prepare", "images", "--data", str(photos), *prepared, "--size", "8", "--on-bad-image", "skip") == 0
    assert "40 pictures, 2 left out" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.*")}
    monkeypatch.setattr(image_files, "decode", lambda *_, **__: pytest.fail("decoded again"))
    pictures = opened_pictures.open_pictures(
        Config(data=(str(photos),), size=8, on_bad_image="skip", cache=prepared[1]), str(photos), RunFolder(tmp_path)
    )
    assert before and {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.*")} == before
    assert pictures.fingerprint == json.loads((trained / "data.json").read_text())["data"]["fingerprint"]
    assert not (tmp_path / opened_pictures.DECODED).exists()


@table(
    ("words", "message"),
    [
        (("images", "--data", "textures", "--cache", "c"), "nothing to prepare"),
        (("images", "--data", "NONE", "--cache", "c"), "NONE"),
        (("images", "--data", "NONE"), "--cache"),
        (("images", "--data", "emoji", "--cache", f"{__file__}/cache"), "test_images.py is a file, not a folder"),
        (("digits",), "digits has nothing to prepare"),
        ((), "images"),
    ],
)
def test_what_cannot_be_prepared_is_refused(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("prepare", *words) in (2, 65)
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_refused_before_pictures_are_read(photos, tmp_path, capsys):
    assert run(*command(photos, tmp_path / "run", "--cache", __file__)) == 2
    assert "--cache" in (message := capsys.readouterr().err) and "is a file, not a folder" in message


@pytest.mark.slow
@pytest.mark.fault("kill -9 anywhere, then resume")
def test_a_process_that_is_killed_and_started_again_ends_as_one_that_was_not(photos, trained, tmp_path):
    out = tmp_path / "run"
    words = [sys.executable, "-m", "experiments", *command(photos, out, "--on-bad-image", "skip")]
    killed = subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.DEVNULL, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    metrics = out / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 4:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not (out / "results.json").exists()
    subprocess.run(words, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert files_left(out) == files_left(trained)
