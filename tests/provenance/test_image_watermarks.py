"""The noise of a mark is noise, carries what the key says, and depends on key, index and nonce alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gendiff.core import sample_keys
from gendiff.core.records import replace
from gendiff.provenance.image_watermarks import gaussian_shading, tree_ring
from tests.provenance.image_rig import BITS, DRAW, KEY, MARKS, S, marked, noise, nonce_of
from tests.provenance.test_keyed_hash import in_python
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

COUNT, FROZEN = 300, 0x7E769F47
INDEX = np.arange(COUNT, dtype=np.int32)
_FOLDED = np.minimum(np.arange(16), 16 - np.arange(16))
RINGS = np.ceil(np.hypot(_FOLDED[:, None], _FOLDED) - 1e-9).astype(int)
_score = quickly(lambda mark, observed: mark.score(observed))
_write = quickly(lambda mark, *rows: mark.write(jax.random.key(DRAW), *rows))


def sign_p(pictures):
    """How likely so uneven signs per pixel are where each sign is fair."""
    z = np.sign(pictures).reshape(len(pictures), -1).mean(0) * len(pictures) ** 0.5
    return scipy.stats.chi2.sf(np.sum(z**2), z.size)


def test_shaded_noise_is_normal_in_each_picture_and_across_them():
    shaded = np.asarray(marked("gaussian shading", COUNT))
    p = [scipy.stats.kstest(picture.ravel(), "norm").pvalue for picture in shaded]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert scipy.stats.kstest(shaded.ravel(), "norm").pvalue > 0.01
    assert sign_p(shaded) > 0.01


def test_one_nonce_for_all_leaves_each_picture_normal_and_fixes_every_sign_of_the_set():
    mark = MARKS["gaussian shading"]()
    shaded = np.asarray(_write(mark, INDEX, jnp.tile(nonce_of(mark, INDEX)[:1], (COUNT, 1))))
    p = [scipy.stats.kstest(picture.ravel(), "norm").pvalue for picture in shaded]
    assert np.mean(np.array(p) < 0.01) < 0.05
    assert np.all(np.abs(np.sign(shaded).mean(0)) == 1) and sign_p(shaded) < 1e-100


def test_what_is_not_marked_is_the_noise_of_a_draw_by_the_same_key_and_index():
    unmarked = np.asarray(
        quickly(lambda: sample_keys.first_noise(sample_keys.keys_of(jax.random.key(DRAW), INDEX), S, jnp.float32))()
    )
    ring, shaded = MARKS["tree ring"](), marked("gaussian shading", COUNT)
    # two programs may round the last bit in two ways
    np.testing.assert_allclose(np.abs(shaded), np.abs(unmarked), rtol=1e-6)
    outside = ~ring.disc[0]
    spectra = (np.fft.fft2(noises[..., 0])[:, outside] for noises in (marked("tree ring", COUNT), unmarked))
    np.testing.assert_allclose(*spectra, atol=1e-3)
    assert ring.disc.sum() == 112 and outside[0, 0]


def test_rings_are_hermitian_so_that_the_noise_keeps_all_their_energy():
    mark = MARKS["tree ring"]()
    inside, pattern = mark.disc[0], np.asarray(quickly(mark.pattern)())
    np.testing.assert_array_equal(pattern[-np.arange(16)][:, -np.arange(16)], pattern.conj())
    spectrum = np.fft.fft2(marked("tree ring", COUNT)[:4, ..., 0])
    np.testing.assert_allclose(spectrum[:, inside], np.tile(pattern[inside], (4, 1)), atol=2e-4)
    distance = np.abs(spectrum - pattern)[:, inside]
    np.testing.assert_allclose(
        -np.sqrt(np.mean(distance**2, 1) / 256),
        quickly(type(mark).score)(mark, marked("tree ring", COUNT)[:4]),
        atol=1e-5,
    )


def test_rings_without_symmetry_lose_half_of_their_energy_with_the_imaginary_part():
    mark = MARKS["tree ring"]()
    words = np.random.default_rng(0).integers(0, 2**32, (100, 2)).astype(np.uint32)
    patterns, values = quickly(
        jax.vmap(lambda secret: (replace(mark, words=secret).pattern(), replace(mark, words=secret).values()))
    )(words)
    # one complex number on a whole ring
    naive = np.where(mark.disc[0], np.asarray(values)[:, np.clip(RINGS, 1, 6) - 1], 0)
    energies = [
        np.sum(np.abs(np.fft.fft2(np.fft.ifft2(pattern).real)) ** 2, (1, 2)) / (112 * 256)
        for pattern in (patterns, naive)
    ]
    np.testing.assert_allclose(energies[0], 1, atol=1e-4)  # so all keys have the energy of noise
    assert abs(np.mean(energies[1]) - 0.5) < 0.05


def test_the_score_of_a_part_is_the_best_over_its_offsets():
    mark, part = MARKS["tree ring"](), np.asarray(marked("tree ring", COUNT))[:4, 1:, 2:]
    full = np.zeros((2, 3, 4, *S), np.float32)
    for down, right in np.ndindex(2, 3):
        full[down, right, :, down : down + 15, right : right + 14] = part
    each = np.asarray(_score(mark, full.reshape(-1, *S))).reshape(6, 4)
    np.testing.assert_allclose(_score(mark, part), each.max(0), atol=1e-6)
    assert np.all(each.argmax(0) == 5)  # that from which it was cut


def test_each_bit_has_its_share_of_places_and_is_read_back_from_noise():
    for bits in (BITS, (0, 1, 1), (1,) * 100):
        mark = gaussian_shading(KEY, S, bits)
        count = np.bincount(mark.bit_of_place(), minlength=len(bits))
        assert count.sum() == 256 and count.max() - count.min() <= 1
    mark = MARKS["gaussian shading"]()
    votes, nonce, right = quickly(type(mark).votes), nonce_of(mark, INDEX), np.tile(np.array(BITS) > 0, (COUNT, 1))
    for added in (0.0, 1.0):
        observed = marked("gaussian shading", COUNT) + np.float32(added) * noise(COUNT)
        assert np.array_equal(np.asarray(votes(mark, observed, nonce)) > 0, right)


@table("name", ["tree ring", "gaussian shading"])
def test_a_sample_depends_on_key_index_and_nonce_alone(name):
    mark, some = MARKS[name](), np.array([7, 3, 250])
    rows = (some,) if name == "tree ring" else (some, np.asarray(nonce_of(mark, INDEX))[some])
    alone = quickly(jax.vmap(lambda *one: mark.write(jax.random.key(DRAW), *(each[None] for each in one))[0]))(*rows)
    np.testing.assert_allclose(alone, marked(name, COUNT)[some], atol=1e-5)


def test_nonces_differ():
    assert len(np.unique(np.asarray(nonce_of(MARKS["gaussian shading"](), INDEX)), axis=0)) == COUNT


def test_signs_stay_as_they_are():
    signs = np.asarray(quickly(MARKS["gaussian shading"]().signs)(np.array([[1, 2]], np.uint32)))[0, :32]
    again = [
        (1 - 2 * (in_python(KEY, [0x52, 1, 2, position]) >> 31)) * (2 * BITS[position * 159 % 256 % 8] - 1)
        for position in range(32)
    ]
    assert signs.astype(int).tolist() == again
    assert int("".join("1" if sign > 0 else "0" for sign in again), 2) == FROZEN


SHADED = MARKS["gaussian shading"]()
RING = MARKS["tree ring"]()
test_mistakes_are_refused = refusals(
    (lambda: tree_ring(-1, S, radius=6), "key = -1"),
    (lambda: tree_ring(1, S, radius=8), r"radius = 8 is outside \[1, 7\]"),
    (lambda: tree_ring(1, S, radius=0), "radius = 0"),
    (lambda: tree_ring(1, S, radius=6, channel=1), "channel = 1"),
    (lambda: tree_ring(1, (16, 16), radius=6), r"must be \(h, w, c\)"),
    (lambda: gaussian_shading(1, (), BITS), "must be one side or more"),
    (lambda: gaussian_shading(1, (4, 0), BITS), "a side of shape = 0"),
    (lambda: gaussian_shading(1, (2,), BITS), r"bits has 8 entries: it must have 1 … 2"),
    (lambda: gaussian_shading(1, S, ()), "bits has 0 entries"),
    (lambda: gaussian_shading(1, S, (2,)), "a bit = 2"),
    (lambda: gaussian_shading(1, S, (0.5,)), "a bit must be an integer", TypeError),
    (lambda: SHADED.write(jax.random.key(DRAW), INDEX, None), "needs the nonce", TypeError),
    (
        lambda: SHADED.write(jax.random.key(DRAW), INDEX, np.zeros((3, 2), np.uint32)),
        r"nonce has shape \(3, 2\), but 300 pictures",
    ),
    (lambda: SHADED.score(noise(2), np.zeros((2, 2), np.float32)), "nonce must hold integers", TypeError),
    (lambda: SHADED.votes(noise(2)), "needs the nonce", TypeError),
    (lambda: RING.score(noise(2), np.zeros((2, 2), np.uint32)), "takes no nonce", TypeError),
    (lambda: RING.score(np.zeros((2, 16, 17, 1), np.float32)), r"for the shape \(16, 16, 1\) and its parts"),
    (lambda: RING.score(noise(2)[..., 0]), r"for the shape \(16, 16, 1\) and its parts"),
    (lambda: RING.score(np.zeros((2, *S), np.int32)), "must be a floating array", TypeError),
)
test_mistakes_are_refused = pytest.mark.fault(
    "watermarks: a mark of pictures out of range, without its nonce, or of another shape"
)(test_mistakes_are_refused)
