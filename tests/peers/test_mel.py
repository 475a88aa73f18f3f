"""The mel bins of `transformers`, which follow librosa's, and its spectrogram in decibels are ours."""

import numpy as np
import pytest

from gendiff.data import audio, scaling
from gendiff.data.audio.spectrogram import FLOOR, HOP, WINDOW, filters

theirs = pytest.importorskip("transformers.audio_utils", reason="needs transformers: make test-peers")

pytestmark = pytest.mark.peers


def bank(rate, mels):
    return theirs.mel_filter_bank(WINDOW // 2 + 1, mels, 0.0, rate / 2, rate, norm=None, mel_scale="slaney")


@pytest.mark.parametrize(("rate", "mels"), [(16_000, 64), (22_050, 80), (44_100, 128)])
def test_bins_of_pitch_are_equal(rate, mels):
    np.testing.assert_allclose(filters(rate, mels), bank(rate, mels).T, atol=1e-10)


def test_a_spectrogram_is_equal_to_the_nearest_level():
    settings, margin = audio.Spectrogram(), (WINDOW - HOP) // 2
    length = settings.length - 1  # shorter than the picture, so that it does not fade out
    sound = np.random.default_rng(0).normal(size=length) * np.linspace(0, 0.2, length)
    power = theirs.spectrogram(
        np.pad(sound, (margin, margin + 1)),
        theirs.window_function(WINDOW, "hann"),
        *(WINDOW, HOP),
        power=2.0,
        center=False,
        mel_filters=bank(settings.rate, settings.mels),
    )
    decibels = 10 * np.log10(power / (WINDOW / 4) ** 2)
    ours = 40 * (np.asarray(scaling.to_unit(settings.to_image(sound), 256))[::-1, :, 0] - 1)
    np.testing.assert_allclose(ours, np.clip(decibels, FLOOR, 0), atol=80 / 255 / 2 + 1e-3)
