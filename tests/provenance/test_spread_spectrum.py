"""The mark in the pixels has its strength, is found without the original, and lies where the picture hides it."""

import numpy as np
import scipy.ndimage

from gendiff.metrics import fidelity
from gendiff.provenance import image_detection, spread_spectrum
from tests.provenance.image_rig import KEY, S, pictures
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

PICTURES = pictures(200, 7)
write = quickly(lambda mark, images: mark.write(images))


def make(**settings):
    return spread_spectrum.spread_spectrum(KEY, S, **settings)


@table("masked", [True, False])
def test_its_psnr_is_the_stated_one(masked):
    mark = make(strength=0.05, masked=masked)
    np.testing.assert_allclose(fidelity.psnr(write(mark, PICTURES), PICTURES), float(mark.psnr), atol=1e-2)
    assert abs(float(mark.psnr) - 32.04) < 0.01


def test_masked_it_is_weak_on_flat_ground_and_stays_strong_on_busy_ground():
    picture = PICTURES[:1].copy()
    picture[:, :, :8] = 0.3
    change = np.abs(np.asarray(write(make(), picture)) - picture)[0, :, :, 0]
    assert change[:, :6].mean() < 0.8 * change[:, 10:].mean()
    assert np.ptp(np.abs(np.asarray(write(make(masked=False), picture)) - picture)) < 1e-6


def smooth(images):
    """Means over 3×3 pixels, where the edge is repeated."""
    return scipy.ndimage.uniform_filter(images, (1, 3, 3, 1), mode="nearest")


def activity(images):
    detail = images - smooth(images)
    return np.sqrt(smooth(detail**2) + 0.05**2)


def cells(signs, channels=1):
    """The pattern (1, 16, 16, c) of one sign per cell of 3×3 pixels, the last of which are cut off."""
    return signs.reshape(1, 6, 6, channels).repeat(3, 1).repeat(3, 2)[:, :16, :16]


@table("masked", [True, False])
def test_what_is_written_is_the_pattern_by_the_activity_of_its_place(masked):
    pictures = np.concatenate([PICTURES[:5], 0.3 * PICTURES[5:10]], 3)
    mark = spread_spectrum.spread_spectrum(KEY, (16, 16, 2), masked=masked, cell=3, strength=0.04)
    active = activity(pictures.astype(np.float64)) if masked else np.ones(pictures.shape)
    scale = active / np.sqrt(np.mean(active**2, (1, 2, 3), keepdims=True))
    expected = pictures + 0.04 * scale * cells(np.asarray(mark.signs(None)), 2)
    np.testing.assert_allclose(write(mark, pictures), expected, atol=1e-5)


@table("masked", [True, False])
def test_the_evidence_is_the_correlation_with_the_pattern(masked):
    mark, signs = make(masked=masked, cell=3), np.random.default_rng(0).choice([-1.0, 1.0], (1, 36)).astype(np.float32)
    pictures, pattern = PICTURES.astype(np.float64), cells(signs.astype(np.float64))
    weighted = (pictures - smooth(pictures)) / activity(pictures) ** (1 if masked else 2)
    expected = np.sum(weighted * (pattern - smooth(pattern)), (1, 2, 3))
    np.testing.assert_allclose(
        np.asarray(quickly(type(mark).evidence)(mark, PICTURES)) @ signs[0], expected, rtol=1e-3, atol=1e-3
    )


def test_a_payload_is_read_without_the_original():
    bits = (1, 0, 1, 1)
    mark = make(strength=0.15, bits=bits)
    observed = np.clip(np.asarray(write(mark, PICTURES)), -1, 1)
    assert np.mean(image_detection.read_bits(mark, observed).bits == np.array(bits)) > 0.98
    assert abs(np.mean(image_detection.read_bits(mark, PICTURES).bits == np.array(bits)) - 0.5) < 0.1


test_mistakes_are_refused = refusals(
    (lambda: make(strength=0.0), "strength = 0"),
    (lambda: make(cell=17), "cell = 17"),
    (lambda: make(bits=(1,) * 65), r"1 … 64"),
    (lambda: make(masked=1), "masked must be True or False", TypeError),
    (lambda: spread_spectrum.spread_spectrum(KEY, (16, 16)), r"must be \(h, w, c\)"),
    (lambda: make().write(np.full((1, *S), 200.0, np.float32)), "like unscaled pixels"),
    (lambda: make().write(PICTURES[:, :8]), "for the shape"),
    (lambda: make().write((PICTURES > 0).astype(int)), "floating", TypeError),
)
