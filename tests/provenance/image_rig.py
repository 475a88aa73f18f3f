"""What the tests of image watermarks share: every mark, what carries it, and pictures that know no key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from gendiff.provenance import image_watermarks, spread_spectrum
from tests.quickly import quickly

S = (16, 16, 1)
KEY = 0x0123456789ABCDEF
BITS = (1, 0, 0, 1, 1, 1, 0, 1)
MARKS = {
    "tree ring": lambda key=KEY: image_watermarks.tree_ring(key, S, radius=6),
    "gaussian shading": lambda key=KEY: image_watermarks.gaussian_shading(key, S, BITS),
    "spread spectrum": lambda key=KEY: spread_spectrum.spread_spectrum(key, S, bits=BITS[:2]),
}
DRAW, NONCE, CHANCE = range(3)


_nonces = quickly(image_watermarks.nonces)
_in_noise = quickly(lambda mark, *arguments: mark.write(jax.random.key(DRAW), *arguments))
_in_pixels = quickly(lambda mark, images: mark.write(images))


def nonce_of(mark, index):
    return _nonces(jax.random.key(NONCE), index) if mark.needs_nonce else None


@functools.cache
def marked(name, count):
    """What a detector sees of marked pictures at best."""
    mark, index = MARKS[name](), jnp.arange(count)
    if name == "spread spectrum":
        return np.asarray(_in_pixels(mark, pictures(count)))
    return np.asarray(_in_noise(mark, index, nonce_of(mark, index)) if mark.needs_nonce else _in_noise(mark, index))


def noise(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, *S)).astype(np.float32)


def pictures(count, seed=0):
    """Pictures with large and small things: no white noise."""
    white = np.random.default_rng(seed).standard_normal((count, *S))
    coarse = scipy.ndimage.gaussian_filter(white, (0, 2, 2, 0), mode="wrap")
    return (0.5 * coarse / coarse.std() + 0.05 * white).clip(-1, 1).astype(np.float32)
