"""Spoken digits: what is spoken, by whom, that it is the same again, and what goes wrong."""

import importlib.util
from collections import Counter

import numpy as np
import pytest

from experiments.tasks import spoken_digits
from experiments.tasks.spoken_digits import HELD_OUT, JUDGE, OTHER_VOICES, SPECTROGRAM, TRAINING, VOICES, WORDS
from gendiff.core.errors import DataError

COUNTS = {TRAINING: 20, HELD_OUT: 10, JUDGE: 10}


def test_each_folder_has_equally_many_of_each_digit_and_no_sound_is_spoken_twice():
    requests = spoken_digits.requests({TRAINING: 1500, HELD_OUT: 600, JUDGE: 1000}, 0)
    counts = Counter((file.split("/")[0], int(file.split("/")[1]), word) for file, word, *_ in requests)
    expected = {
        (folder, label, word): count
        for folder, count in ((TRAINING, 150), (HELD_OUT, 60), (JUDGE, 100))
        for label, word in enumerate(WORDS)
    }
    assert counts == expected
    assert len({tuple(sound) for _, *sound in requests}) == len(requests) == len({file for file, *_ in requests})
    voices = {folder: {voice for file, _, voice, *_ in requests if file.startswith(folder)} for folder in COUNTS}
    assert voices[TRAINING] == voices[HELD_OUT] == {f"en-us+{voice}" for voice in VOICES}
    assert voices[JUDGE] == {f"en-us+{voice}" for voice in OTHER_VOICES} and not voices[JUDGE] & voices[TRAINING]
    assert requests != spoken_digits.requests({TRAINING: 1500, HELD_OUT: 600, JUDGE: 1000}, 1)


def test_sounds_are_the_same_again_and_stay_once_they_are_spoken(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra [speech]")
    pytest.importorskip("soundfile", reason="needs the extra [audio]")
    first, second = tmp_path / "first", tmp_path / "second"
    (tmp_path / "first.partial" / "left").mkdir(parents=True)
    for folder in (first, second):
        spoken_digits.write(folder, COUNTS)
    files = [file.relative_to(first) for file in sorted(first.rglob("*.wav"))]
    assert len(files) == 40 and all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}
    images, labels = spoken_digits.load(first / TRAINING)
    assert images.shape == (20, SPECTROGRAM.mels, SPECTROGRAM.frames, 1) and images.dtype == np.float32
    assert labels.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert -1 == images.min() < images.max() <= 1
    assert images[:, :, :8].mean() > images[:, :, -4:].mean() + 0.2  # words begin at once, and silence follows
    (first / files[0]).unlink()
    spoken_digits.write(first, COUNTS)
    assert not (first / files[0]).exists()


def test_every_voice_speaks(tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason="needs the extra [speech]")
    monkeypatch.setattr(spoken_digits, "VOICES", VOICES + OTHER_VOICES)
    monkeypatch.setattr(spoken_digits, "WORDS", ("zero",))
    monkeypatch.setattr(spoken_digits, "PITCHES", (50,))
    monkeypatch.setattr(spoken_digits, "SPEEDS", (180,))
    spoken_digits.write(tmp_path / "all", {TRAINING: 24, HELD_OUT: 0, JUDGE: 0})
    sounds = [file.read_bytes() for file in (tmp_path / "all").rglob("*.wav")]
    assert len(set(sounds)) == 24 and min(map(len, sounds)) > 5000


def test_a_missing_package_and_a_missing_voice_are_typed_errors(tmp_path, monkeypatch):
    folder = tmp_path / "sounds"
    if importlib.util.find_spec("espeakng_loader"):
        with monkeypatch.context() as patch:
            patch.setattr(spoken_digits, "VOICES", ("nobody",))
            with pytest.raises(DataError, match=r"sounds: no sounds: .*no voice 'en-us\+nobody'; install .*\[speech\]"):
                spoken_digits.write(folder, COUNTS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"spoken digits need espeakng-loader: install .*\[speech\]"):
        spoken_digits.write(folder, COUNTS)
    assert not folder.exists()
