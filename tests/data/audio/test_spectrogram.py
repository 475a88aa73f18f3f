"""Spectrograms of sounds whose spectra are known, and sounds of spectrograms."""

import io

import numpy as np
import pytest
from scipy.io import wavfile

from gendiff.data import audio, scaling
from gendiff.data.audio import sound_files, spectrogram
from gendiff.data.audio.spectrogram import HOP, WINDOW, filters
from tests.refusals import Ends, ends, refusals

SETTINGS = audio.Spectrogram(frames=32)
TIME = np.arange(SETTINGS.length) / SETTINGS.rate


def decibels(image):
    """(mels, frames), the lowest pitch first."""
    return 40 * (np.asarray(scaling.to_unit(image, 256))[::-1, :, 0] - 1)


def test_a_sine_of_full_scale_is_the_brightest_pixel_in_the_bin_of_its_pitch_and_each_tenth_of_it_20_decibels_less():
    bins = np.fft.rfftfreq(WINDOW, 1 / SETTINGS.rate)
    for bin in (20, 64, 300):
        weights = filters(SETTINGS.rate, SETTINGS.mels)[:, bin]
        for part in (1.0, 0.1, 0.001):
            image = SETTINGS.to_image(part * np.sin(2 * np.pi * bins[bin] * TIME))
            middle = decibels(image)[:, 4:-4]
            assert (middle.argmax(axis=0) == weights.argmax()).all()
            # the Hann window spreads a sine over its bin and a quarter of its power over each of the two beside it
            spread = filters(SETTINGS.rate, SETTINGS.mels)[:, bin - 1 : bin + 2] @ [0.25, 1.0, 0.25]
            expected = np.minimum(10 * np.log10(part**2 * spread.max()), 0)
            np.testing.assert_allclose(middle.max(axis=0), expected, atol=80 / 255)


def test_filters_are_triangles_that_add_up_to_one_between_the_middles_of_the_first_and_the_last():
    weights = filters(16_000, 64)
    total = weights.sum(axis=0)
    inside = slice(weights[0].argmax(), weights[-1].argmax() + 1)
    np.testing.assert_allclose(total[inside], 1.0, atol=1e-12)
    assert weights.min() >= 0 and weights.max() <= 1 and total[0] == total[-1] == 0


def test_a_sound_that_is_cut_ends_without_a_click():
    middle, last = decibels(SETTINGS.to_image(0.5 * np.sin(2 * np.pi * 1000 * TIME)))[-16:, [16, -1]].max(axis=0)
    assert middle == -80 and last < -60


def test_what_is_longer_is_cut_off_and_silence_follows_what_is_shorter():
    noise = np.random.default_rng(0).normal(size=2 * SETTINGS.length) / 10
    np.testing.assert_array_equal(SETTINGS.to_image(noise), SETTINGS.to_image(noise[: SETTINGS.length]))
    short = SETTINGS.to_image(noise[: 8 * HOP])
    assert (short[:, 10:] == 0).all() and (short[:, :6] > 0).any(axis=0).all()
    assert (SETTINGS.to_image(np.zeros(0)) == 0).all()


def test_the_sound_of_a_picture_has_that_picture_and_the_same_samples_every_time():
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 1500 * TIME) * TIME) + 0.1 * np.sin(2 * np.pi * 3000 * TIME)
    image = SETTINGS.to_image(sweep)
    sound = SETTINGS.to_sound(image)
    assert sound.shape == (SETTINGS.length,) and sound.dtype == np.float32
    again = decibels(SETTINGS.to_image(sound))
    loud = decibels(image) > -40
    assert np.abs(again - decibels(image))[loud].mean() < 2
    np.testing.assert_array_equal(sound, SETTINGS.to_sound(np.asarray(scaling.to_unit(image, 256))))
    assert not SETTINGS.to_sound(np.zeros_like(image)).any()


def test_transforms_are_inverse_to_each_other():
    noise = np.random.default_rng(1).normal(size=SETTINGS.length)
    np.testing.assert_allclose(spectrogram._inverse(spectrogram._transform(noise)), noise, atol=1e-12)


def test_a_wav_file_has_the_samples_in_16_bits_and_clips_what_is_louder():
    rate, samples = wavfile.read(io.BytesIO(sound_files.to_wav(np.array([0.0, 0.5, -1.0, 2.0]), 22_050)))
    assert rate == 22_050 and samples.dtype == np.int16 and samples.tolist() == [0, 16384, -32767, 32767]


test_numbers_out_of_range_are_refused_by_name = ends(
    Ends(lambda value: audio.Spectrogram(rate=value, mels=8), "rate", 4000, 192_000),
    Ends(lambda value: audio.Spectrogram(mels=value, rate=4000), "mels", 8, None),
    Ends(lambda value: audio.Spectrogram(frames=value), "frames", 8, 8192),
)
test_settings_and_shapes_that_fit_no_sound_are_refused = refusals(
    (lambda: audio.Spectrogram(mels=512), "mels = 512 at rate = 16000 leaves bins without a frequency"),
    (lambda: audio.Spectrogram(mels=64.0), "mels", TypeError),
    (lambda: SETTINGS.to_sound(np.zeros((64, 31, 1), np.uint8)), r"\(64, 31, 1\), and \(64, 32, 1\) is needed"),
)


@pytest.mark.parametrize("mels", [40, 80])
def test_the_powers_of_all_frequencies_are_seen_by_the_bins_as_they_are(mels):
    weights = filters(16_000, mels)
    power = weights @ np.random.default_rng(2).exponential(size=(WINDOW // 2 + 1, 5)) ** 3
    result = spectrogram._all_frequencies(power, weights)
    assert result.min() >= 0
    assert np.abs(10 * np.log10((weights @ result) / power)).mean() < 0.1
