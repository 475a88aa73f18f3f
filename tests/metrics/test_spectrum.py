"""Radial power spectra: exact for waves, flat for noise, and complete."""

import numpy as np

from gendiff.metrics import spectrum
from tests.metrics.rows import uniform
from tests.refusals import refusals
from tests.tables import table


def wave(down, across, height=16, width=16, channels=1):
    y, x = np.mgrid[:height, :width]
    image = np.cos(2 * np.pi * (down * y / height + across * x / width) + 0.3)
    return np.repeat(image[None, :, :, None], channels, axis=-1)


@table("down, across, ring", [(0, 0, 0), (0, 3, 3), (5, 0, 5), (3, 4, 5), (4, 5, 6), (7, 7, 10)])
def test_a_wave_lies_in_the_ring_of_its_frequency(down, across, ring):
    image = wave(down, across, channels=2)
    spectra = spectrum.radial(image)
    expected = np.zeros_like(spectra.frequency)
    expected[ring] = np.mean(image**2)
    np.testing.assert_allclose(spectra.energy[0], expected, atol=1e-15)
    assert spectra.frequency[ring] == ring / 16


def test_the_frequency_is_per_pixel_where_the_sides_differ():
    spectra = spectrum.radial(wave(6, 0, height=24, width=12))  # 6 cycles in 24 pixels
    np.testing.assert_allclose(spectra.frequency[np.argmax(spectra.energy[0])], 0.25)


@table("shape", [(3, 8, 8, 3), (2, 7, 12, 1), (1, 2, 2, 4)])
def test_the_energies_add_up_to_the_mean_square_and_the_modes_to_the_pixels(shape):
    images = uniform(0, *shape)
    spectra = spectrum.radial(images)
    np.testing.assert_allclose(spectra.energy.sum(axis=1), np.mean(images**2, axis=(1, 2, 3)), rtol=1e-13)
    assert spectra.modes.sum() == shape[1] * shape[2]
    assert spectra.frequency[-1] <= np.hypot(0.5, 0.5) + 0.5 / min(shape[1:3])


@table("window", spectrum.WINDOWS)
def test_white_noise_has_its_variance_in_every_ring(window):
    noise = 0.5 * np.random.default_rng(0).normal(size=(400, 16, 16, 3))
    power = spectrum.radial(noise, window=window).power
    error = power.std(axis=0) / np.sqrt(len(noise))
    assert np.all(np.abs(power.mean(axis=0) - 0.25) < 4 * error)
    assert np.all(error < 0.02)


def test_the_window_hides_the_jump_between_opposite_borders():
    ramp = np.broadcast_to(np.linspace(-1, 1, 32)[:, None, None], (1, 32, 32, 1))
    plain, faded = (spectrum.radial(ramp, window=window).above(0.25)[0] for window in spectrum.WINDOWS)
    assert faded < plain / 1000


def test_a_window_moves_a_mean_no_further_than_the_ring_beside_it():
    spectra = spectrum.radial(np.ones((1, 16, 16, 1)), window="hann")
    np.testing.assert_allclose(spectra.energy[0, 2:], 0, atol=1e-15)  # the diagonal neighbour lies in ring 1 as well
    np.testing.assert_allclose(spectra.energy.sum(), 1)


def test_above_is_the_energy_of_the_rings_from_the_cutoff_on():
    images = uniform(0, 2, 16, 16, 3)
    spectra = spectrum.radial(images)
    np.testing.assert_allclose(spectra.above(0.25), spectra.energy[:, 4:].sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(spectra.above(0.0), np.mean(images**2, axis=(1, 2, 3)))
    mixed = wave(0, 2) + 3 * wave(0, 6)
    np.testing.assert_allclose(spectrum.radial(mixed).above(0.25), 4.5)


ONE = np.ones((1, 8, 8, 1))
test_mistakes_are_refused_with_the_fix = refusals(
    (lambda: spectrum.radial(ONE, window="hamming"), "window = 'hamming'"),
    (lambda: spectrum.radial(np.ones((1, 1, 8, 1))), "h and w at least 2, got shape"),
    (lambda: spectrum.radial(ONE[..., 0]), r"\(n, h, w, c\)"),
    (lambda: spectrum.radial(ONE * np.nan), "images: 1 of 1 rows hold NaN"),
    (lambda: spectrum.radial(ONE).above(0.8), "cutoff = 0.8 is outside"),
)
