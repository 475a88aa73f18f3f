"""Sounds from files: what is read, mixed, resampled and cut, and what is refused."""

import os
import pickle
import struct

import numpy as np
import pytest

from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import audio, sources
from gendiff.data.audio import sound_files, sound_folder
from tests.tables import table

soundfile = pytest.importorskip("soundfile", reason="needs the extra [audio]")

SETTINGS = audio.Spectrogram(rate=8000, mels=16, frames=8)


def tone(frequency=440.0, rate=8000, seconds=0.3):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def put(path, samples=None, rate=8000, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if samples is None else samples, rate, subtype=subtype)
    return path


def tree(root):
    for number in range(3):
        put(root / "high" / f"{number}.wav", tone(1000 + 100 * number))
        put(root / "low" / f"{number}.flac", tone(200 + 20 * number))
    return root


def test_a_folder_gives_spectrograms_and_labels_and_crosses_to_another_process(tmp_path):
    source = sources.open(tree(tmp_path), spectrogram=SETTINGS)
    assert source.classes == ("high", "low") and source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    image, label = pickle.loads(pickle.dumps(source))[3]
    assert label == 1 and image.dtype == np.uint8
    samples = soundfile.read(tmp_path / "low" / "0.flac")[0]
    np.testing.assert_array_equal(image, SETTINGS.to_image(samples))
    assert sources.open(tmp_path, size=16)[0].image.shape == (16, 64, 1)
    alone = sources.open(tmp_path / "low", spectrogram=SETTINGS)
    assert len(alone) == 3 and set(alone.labels) == {NO_LABEL}


def test_the_fingerprint_follows_contents_names_and_settings(tmp_path):
    before = sources.open(tree(tmp_path), spectrogram=SETTINGS).fingerprint
    assert sources.open(tmp_path, spectrogram=SETTINGS).fingerprint == before
    others = {sources.open(tmp_path, spectrogram=audio.Spectrogram(8000, 16, 16)).fingerprint}
    put(tmp_path / "low" / "0.flac", tone(201))
    others.add(sources.open(tmp_path, spectrogram=SETTINGS).fingerprint)
    assert len(others | {before}) == 3


def test_other_rates_and_channels_give_the_tone_that_they_hold_and_notes_count_them(tmp_path):
    expected = sound_files.read(put(tmp_path / "0.wav"), rate=8000, length=2400)
    np.testing.assert_allclose(expected, tone(), atol=1e-4)
    stereo = np.stack([1.5 * tone(rate=44_100), 0.5 * tone(rate=44_100)], axis=1)
    for path in (
        put(tmp_path / "1.wav", stereo, 44_100, "FLOAT"),
        put(tmp_path / "2.ogg", tone(rate=48_000, seconds=2.0), 48_000, "VORBIS"),
    ):
        samples = sound_files.read(path, rate=8000, length=2000)
        assert samples.shape == (2000,)
        np.testing.assert_allclose(samples[200:1800], expected[200:1800], atol=0.02)
    notes = sound_folder.source(tmp_path, SETTINGS).notes()
    assert notes == (
        "2 of 3 sounds have another rate than 8000 Hz and are resampled",
        "1 of 3 sounds have several channels and are mixed to one",
        "3 of 3 sounds are longer than 0.26 s and are cut there",
    )


def stated(channels=1, rate=8000, size=2**31):
    """The header of a WAV file that states these numbers, without a sample."""
    data = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * channels * rate % 2**32, 2 * channels, 16)
    return b"RIFF" + struct.pack("<I", size + 36) + b"WAVE" + data + b"data" + struct.pack("<I", size)


def with_length(path, samples):
    """A FLAC file whose header states so many samples."""
    content = bytearray(put(path).read_bytes())
    content[21] = (content[21] & 0xF0) | (samples >> 32)  # of the 36 bits behind rate, channels and width
    content[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)


HOSTILE = {
    "text": ("x.wav", lambda path: path.write_bytes(b"no sound\n"), "not a whole sound"),
    "nothing": ("x.flac", lambda path: path.write_bytes(b""), "not a whole sound"),
    "cut FLAC": ("x.flac", lambda path: path.write_bytes(put(path).read_bytes()[:900]), "not a whole sound"),
    "no samples": ("x.wav", lambda path: put(path, np.zeros(0)), "empty: no samples"),
    "too short": ("x.wav", lambda path: put(path, tone(seconds=0.1)), "too short: 0.100 s at 8000 Hz, and 0.128 s"),
    "NaN": ("x.wav", lambda path: put(path, np.full(3000, np.nan), subtype="FLOAT"), "not finite: 3000 are NaN"),
    "a header alone": ("x.wav", lambda path: path.write_bytes(stated()), "no samples in it|not a whole sound"),
    "many channels": ("x.wav", lambda path: path.write_bytes(stated(channels=900) + bytes(9000)), "900 channels|whole"),
    "a rate of 1 Hz": ("x.wav", lambda path: put(path, tone(), 1), "rate of 1 Hz: 1000 … 384000 are read"),
    "68 billion samples": ("x.flac", lambda path: with_length(path, 2**36 - 1), "promises 68719476735 samples"),
    "more samples than there are": ("x.flac", lambda path: with_length(path, 10**6), "not a whole sound"),
    "another kind": ("x.txt", lambda path: path.write_bytes(b"x"), "unknown suffix"),
    "pipe": ("x.wav", os.mkfifo, "not a regular file"),
}


@pytest.mark.fault("unreadable sound", "a request larger than memory")
@table("kind", HOSTILE)
def test_hostile_sounds_are_one_error_that_names_the_path_and_left_out_only_when_asked(tmp_path, kind):
    name, make, message = HOSTILE[kind]
    path = tree(tmp_path) / "low" / name
    make(path)
    with pytest.raises(DataError, match=message) as raised:
        sources.open(tmp_path, spectrogram=audio.Spectrogram(8000, 16, 16))
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)
    skipping = sources.open(tmp_path, spectrogram=audio.Spectrogram(8000, 16, 16), on_bad="skip")
    assert len(skipping) == 6 and len(skipping.skipped) == 1


@pytest.mark.fault("a folder of sounds and pictures")
def test_one_sound_two_kinds_and_options_of_the_other_kind_are_refused(tmp_path):
    with pytest.raises(DataError, match="that is one sound; give its folder"):
        sources.open(put(tmp_path / "a.wav"))
    for options in ({"mode": "RGB"}, {"background": (0, 0, 0)}):
        with pytest.raises(ValueError, match="sounds have one channel and no colours"):
            sources.open(tmp_path, **options)
    (tmp_path / "cover.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=f"^{tmp_path}: mixed kinds: 1 sounds and 1 pictures"):
        sources.open(tmp_path)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(ValueError, match="holds no sounds"):
        sources.open(tmp_path, spectrogram=SETTINGS)


def test_without_soundfile_an_error_names_the_extra(tmp_path, monkeypatch):
    put(tmp_path / "a.wav")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"sound files need soundfile: install this project's extra \[audio\]"):
        sources.open(tmp_path)
