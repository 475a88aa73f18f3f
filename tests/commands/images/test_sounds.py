"""`train SOUNDS`: the plan says what happens to the sounds, and samples and report let them be heard."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from gendiff.commands.images.sample_files import SampleFiles
from gendiff.commands.train import facts, opened_pictures, plan, preview
from gendiff.commands.train.config import Config
from gendiff.data import audio
from gendiff.runs.reporting import figures, report, results
from tests.commands.images.test_images import JUDGING, restored, run
from tests.tables import table

SMALL = ("--size", "16", "--seconds", "0.25", "--sample-rate", "8000")


def sounds(folder, count=24, seconds=0.4):
    """High and low tones, each with a pitch of its own."""
    time = np.arange(round(8000 * seconds)) / 8000
    for i in range(count):
        path = folder / ("high" if i % 2 else "low") / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        frequency = (1000 if i % 2 else 200) + 20 * i
        path.write_bytes(audio.sound_files.to_wav(0.5 * np.sin(2 * np.pi * frequency * time), 8000))
    return folder


def test_samples_of_sounds_are_wav_files_that_do_not_depend_on_each_other(tmp_path):
    sound = audio.Spectrogram(8000, 16, 8)
    pictures = np.random.default_rng(0).uniform(-1, 1, (3, 16, 8, 1)).astype(np.float32)
    index, labels = np.arange(3, dtype=np.int32), np.array([0, 1, 0], np.int32)
    for folder, rows in (("all", [0, 1, 2]), ("one", [1])):
        files = SampleFiles(tmp_path / folder, sound.to_image(np.zeros(1)).shape, {}, False, ("high", "low"), sound)
        files.write(pictures[rows], index[rows], labels[rows])
        assert not files.missing(index[rows], labels[rows]).size
    names = sorted(path.name for path in (tmp_path / "all").glob("*.wav"))
    assert names == ["000000_label0_high.wav", "000001_label1_low.wav", "000002_label0_high.wav"]
    assert (tmp_path / "all" / names[1]).read_bytes() == (tmp_path / "one" / names[1]).read_bytes()
    rate, samples = wavfile.read(tmp_path / "all" / names[0])
    assert rate == 8000 and samples.shape == (sound.length,) and samples.any()


def test_a_report_plays_the_sounds_beside_a_picture(tmp_path):
    wav = audio.sound_files.to_wav(np.zeros(8), 8000)
    for name in ("samples_000000.wav", "loss.wav"):
        (tmp_path / name).write_bytes(wav)
    outcome = results.conclude(
        *("images", "?", {}, ()),
        seeds=(0,),
        seconds={},
        environment={"commit": None, "dirty": None, "versions": {}, "machine": {}},
        named=False,
        figures=[
            figures.grid(np.zeros((1, 2, 2)), 1, tmp_path / f"{name}.png", "Squares.") for name in ("samples", "loss")
        ],
    )
    page = report.write(tmp_path, outcome).read_text()
    (player,) = re.findall(r'<label>samples_000000<audio controls [^>]*src="data:audio/wav;base64,([^"]+)"', page)
    assert base64.b64decode(player) == wav and page.count("<audio") == 1 and "media-src data:" in page


def test_the_plan_says_what_a_picture_is_and_what_happens_to_the_sounds(tmp_path):
    pytest.importorskip("soundfile")
    path = str(sounds(tmp_path))
    config = Config(data=(path,), size=16, seconds=0.25, sample_rate=8000)
    opened = opened_pictures.open_pictures(config, path, None)
    data = facts.summarize(config, path, opened)
    assert data.sound == audio.Spectrogram(8000, 16, 8) and data.shape == (16, 8, 1) and data.classes == ("high", "low")
    lines = plan.of_data(data, opened)
    assert lines[1:3] == [
        "note: each picture is 0.26 s of a sound at 8000 Hz, in 16 mel bins and 8 frames",
        "note: 24 of 24 sounds are longer than 0.26 s and are cut there",
    ]
    assert facts.model(facts.Described(config, data)).sound == data.sound


@pytest.mark.fault("a folder of sounds and pictures")
@table(
    ("options", "code", "message"),
    [
        (("--flip",), 2, "--flip is for pictures, and"),
        (("--mode", "RGB"), 2, "--mode RGB is for pictures"),
        (("--size", "512"), 2, "--size 512 at rate = 16000 leaves bins without a frequency"),
        (("--seconds", "0"), 2, "--seconds 0.0: it must be"),
        (("--data", "emoji", "--seconds", "2"), 2, "--seconds is for sounds, and emoji holds pictures"),
        (("--data", "emoji", "--mode", "L"), 2, "--mode L is for files of your own, and emoji come with the package"),
        (("--data", "emoji", "--background", "0", "0", "0"), 2, "--background is for files of your own"),
        (("--data", "textures", "--on-bad-image", "skip"), 2, "--on-bad-image skip is for files of your own"),
        (("--data", "textures", "--held-out", "0.2"), 2, "--held-out is for files of your own, and textures"),
        (("--data", "textures", "--least-per-class", "9"), 2, "--least-per-class is for files of your own"),
        (("--data", "textures", "--cache", "there"), 2, "--cache is for files of your own, and textures"),
        (("--size", "16", "cover.png"), 65, "mixed kinds: 24 sounds and 1 pictures"),
        (("--size", "16", "loose.wav"), 65, "loose.wav: has no class: it lies beside the class folders high, …"),
        (("--size", "16", "notes.txt"), 65, "its name ends in none of .flac, .mp3, .ogg, .wav; move it out"),
    ],
)
def test_options_and_folders_of_the_other_kind_are_refused_before_training(options, code, message, tmp_path, capsys):
    pytest.importorskip("soundfile")
    folder = sounds(tmp_path / "sounds")
    file = options[-1] if "." in options[-1] else ""
    if file == "cover.png":
        Image.new("L", (4, 4)).save(folder / "low" / file)
    elif file.endswith(("wav", "txt")):
        (folder / file).write_bytes((folder / "low" / "0.wav").read_bytes())
    words = [str(folder), *(word for word in options if word != file)]
    assert run("train", *(words if "--data" not in options else options), "--out", str(tmp_path / "run")) == code
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


TRAINING = ("--network", "dit-tiny/2", "--steps", "6", "--batch", "4", "--checkpoint-every", "2", *SMALL, *JUDGING)


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    return sounds(tmp_path_factory.mktemp("forty") / "sounds", 40)


@pytest.fixture(scope="module")
def trained(forty, tmp_path_factory):
    pytest.importorskip("grain")
    pytest.importorskip("soundfile")
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run("train", str(forty), *TRAINING, "--out", str(out)) == 0
    return out


@pytest.mark.slow
@pytest.mark.fault("kill -9 anywhere, then resume")
def test_a_training_on_sounds_that_died_ends_as_one_that_did_not(forty, trained, tmp_path, monkeypatch):
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
        run("train", str(forty), *TRAINING, "--out", str(out))
    assert not (out / "results.json").exists() and not list(out.glob("samples_*.wav"))
    assert run("train", str(forty), *TRAINING, "--out", str(out)) == 0

    def left(folder):
        files = [folder / "metrics.jsonl", *folder.glob("samples_*.wav"), *(folder / "progress").iterdir()]
        return {path.name: path.read_bytes() for path in files}, restored(folder)

    assert left(out) == left(trained)


@pytest.mark.slow
def test_a_run_on_sounds_leaves_players_and_draws_wav_files(trained, tmp_path):
    out = trained
    assert json.loads((out / "data.json").read_text())["data"]["sound"] == {"rate": 8000, "mels": 16, "frames": 8}
    outcome = json.loads((out / "results.json").read_text())
    assert outcome["chosen"] | {"mode": "L"} == outcome["chosen"] and "seconds" not in outcome["chosen"]
    page = (out / "report.html").read_text()
    assert page.count("<audio") == 4 and {path.name for path in out.glob("samples_*.wav")} == {
        "samples_000000_label0_high.wav",
        "samples_000001_label1_low.wav",
    }
    out_folder = tmp_path / "samples"
    for words in (("--num", "3"), ("--index", "2:3", "--together", "1")):
        target = out_folder / words[0][2:]
        out_folder.mkdir(exist_ok=True)
        assert run("sample", str(out), *words, "--steps", "4", "--out", str(target)) == 0
    names = {path.name for path in (out_folder / "num").glob("*.wav")}
    assert names == {"000000_label0_high.wav", "000001_label1_low.wav", "000002_label0_high.wav"}
    both = [
        wavfile.read(io.BytesIO((out_folder / kind / "000002_label0_high.wav").read_bytes()))
        for kind in ("num", "index")
    ]
    assert both[0][0] == both[1][0] == 8000 and both[0][1].shape == (2048,)
    assert run("sample", str(out), "--num", "3", "--steps", "4", "--out", str(tmp_path / "grid.png")) == 0
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.mode == "L"
