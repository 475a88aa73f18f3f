"""Notes of instruments: no recording on two sides, no variant twice, one error for what is absent."""

import re
import shlex
import shutil
import subprocess
import typing
from pathlib import Path

import numpy as np
import pytest

from experiments.diffusion import sounds
from experiments.tasks import instrument_notes
from experiments.tasks.instrument_notes import INSTRUMENTS, JUDGED, LEARNED, OTHERS, SPECTROGRAM
from gendiff.core.errors import DataError

pytest.importorskip("soundfile", reason="needs the extra [audio]")
PAGE = Path(sounds.__file__).parents[1] / "documentation" / "pages" / "sounds.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    instrument_notes.write_tones(folder)
    return folder


def test_recordings_are_split_by_pitch_every_one_is_used_and_no_variant_twice(folder, monkeypatch):
    used = []
    monkeypatch.setattr(instrument_notes, "_image", lambda variant: used.append(variant) or np.zeros((40, 48, 1), "u1"))
    sides = []
    for pitches in (LEARNED, JUDGED):
        used.clear()
        instrument_notes.load(folder, pitches, 60)
        instrument_notes.load(folder, pitches, 7710, skip=60)
        assert len(set(used)) == len(used) == 7770
        sides.append({file for file, _, _ in used[:60]})
        assert sides[-1] == {file for file, _, _ in used}
    assert not sides[0] & sides[1]
    assert {(file.parent.name, file.name) for side in sides for file in side} == {
        (f"tonejs-instrument-{name}-mp3", f"{note}.wav") for name in INSTRUMENTS for note in ("C3", "D4", "G3", "A4")
    }


def test_sounds_are_the_same_again(folder):
    images, labels = instrument_notes.load(folder, LEARNED, 40)
    again, _ = instrument_notes.load(folder, LEARNED, 40)
    assert images.shape == (40, SPECTROGRAM.mels, SPECTROGRAM.frames, 1) and images.dtype == np.float32
    assert labels.tolist() == [label for label in range(10) for _ in range(4)]
    assert np.array_equal(images, again) and -1 == images.min() < images.max() <= 1


def test_a_variant_is_higher_or_lower_by_two_semitones_at_most(folder):
    file = instrument_notes.package(folder, "violin").side(LEARNED)[1]
    assert file.name == "D4.wav"
    for rate in (instrument_notes.RATES[0], 16_000, instrument_notes.RATES[-1]):
        sound = SPECTROGRAM.to_sound(instrument_notes._image((file, rate, 200)))
        loudest = np.argmax(np.abs(np.fft.rfft(sound))) * SPECTROGRAM.rate / len(sound)
        assert abs(loudest / (294 * 16_000 / rate) - 1) < 0.1
        assert abs(12 * np.log2(16_000 / rate)) <= 2.05


def test_a_digest_tells_other_recordings(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = instrument_notes.package(folder, "harp")
    assert instrument_notes.package(copy, "harp").digest == before.digest and before.version == "0.0.0"
    file = instrument_notes.package(copy, "harp").files[0]
    file.write_bytes(file.read_bytes()[:-2])
    assert instrument_notes.package(copy, "harp").digest != before.digest


@pytest.mark.fault("missing data")
@pytest.mark.parametrize("left", ("*", "[A-B]*.wav"))
def test_absent_recordings_are_one_error_with_the_command_that_installs_them(folder, tmp_path, left):
    copy = shutil.copytree(folder, tmp_path / "my copy")
    for file in instrument_notes.package(copy, "organ").files:
        if file.match(left) or file.stem == "G3":
            file.unlink()
    with pytest.raises(DataError, match=r"organ-mp3: recordings are not there; install them by `.*` in bash$") as error:
        instrument_notes.load(copy, JUDGED, 20)
    assert shlex.split(str(error.value).split("`")[1])[:5] == ["npm", "install", "--prefix", str(copy), "--omit=peer"]


@pytest.mark.fault("unreadable sound")
def test_a_recording_that_is_not_whole_is_an_error_with_its_path(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = instrument_notes.package(copy, "organ").side(JUDGED)[0]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}: "):
        instrument_notes.load(copy, JUDGED, 20)


def test_the_largest_numbers_of_the_configuration_have_variants_enough(folder, monkeypatch):
    monkeypatch.setattr(instrument_notes, "_image", lambda _: np.zeros((1, 1, 1), "u1"))
    most = typing.get_args(sounds.Sounds)[1].le
    for arguments in ((LEARNED, most, INSTRUMENTS, most), (LEARNED + JUDGED, most, OTHERS)):
        assert len(instrument_notes.load(folder, *arguments)[1]) == most


def test_every_command_installs_all_packages():
    texts = {
        "error": instrument_notes.command("runs/instruments"),
        "docstring": sounds.__doc__.partition("    npm")[2].partition("    python")[0].replace("\\\n", ""),
        "page": next(line for line in PAGE.read_text().splitlines() if "npm install" in line),
    }
    for name, text in texts.items():
        words = subprocess.run(
            ["bash", "-c", f"echo {text}"], capture_output=True, text=True, check=True
        ).stdout.split()
        packages = {word for word in words if word.startswith("tonejs")}
        versions = {each: version for version, names in instrument_notes.VERSIONS.items() for each in names}
        assert packages == {f"tonejs-instrument-{each}-mp3@{versions[each]}" for each in INSTRUMENTS + OTHERS}, name
        assert words[-len(packages) - 2 : -len(packages)] == ["runs/instruments", "--omit=peer"], name
