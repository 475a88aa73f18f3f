"""Watermarks of pictures in the noise that a draw starts from: a secret key chooses a part of that noise.

`write(key, index, …)` gives standard normal noise (b, *shape); times the first sigma it is the `start` of
`diffusion.sample`. It is made of the noise that a draw by the same key and index starts from anyway. Whoever has a
picture, the model and the secret key recovers the noise, as `diffusion.inversion.ddim_invert` does, and asks
`image_detection`. All of it is pure functions under jit and vmap.

`tree_ring` writes one pattern into all noises: it survives much, but pictures by one key have something in common.
`gaussian_shading` writes bits, and its noise is exactly as unmarked noise is, if each picture has a nonce of its own.

What is observed may be a part that was cut out of the picture, at an offset that nobody noted: all offsets are tried.
"""

import abc
import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Integer, UInt32

from gendiff.core import arrays, checks, sample_keys
from gendiff.core.records import record, static
from gendiff.core.types import ArrayLike
from gendiff.provenance import keyed_hash

_RINGS, _SIGNS = 0x51, 0x52
"""Numbers that the hash takes to choose a pattern and signs."""
_NONCE = 2**32 - 1
"""With what a sample's key is folded to draw its nonce: the noise takes 0, and the steps of a draw follow."""


@record
class ImageWatermark(abc.ABC):
    """A watermark of images: a key, a shape, and a score of how well a picture fits.

    Attributes:
        words: (2,) the secret key, see `keyed_hash.key`.
        shape: of one picture or of its noise.
    """

    words: jax.Array
    shape: tuple[int, ...] = static()
    needs_nonce: ClassVar[bool] = False
    """Whether each picture has a nonce."""

    @abc.abstractmethod
    def fit(self, full: Float[Array, "b *shape"], nonce: ArrayLike | None) -> Float[Array, "b"]:
        """The score of what has the mark's shape; 0 stands where nothing is known."""

    def score(
        self, observed: Float[ArrayLike, "b *part"], nonce: Integer[ArrayLike, "b 2"] | None = None
    ) -> Float[Array, "b"]:
        """How well each recovered noise, or picture, fits the key: more is better. Of a part the best over all offsets.

        Args:
            observed: (b, *shape), or a part of that shape, as of a picture that was cropped. Each offset of the part
                costs as much as a whole.
            nonce: (b, 2) of the pictures, where the mark needs one.

        Raises:
            TypeError: for what is not floating, a nonce that is missing, and one that is not taken.
            ValueError: for what is no part of the shape.
        """
        pictures = self.placed(self.checked(observed, nonce))
        return jnp.max(jax.vmap(lambda picture: self.fit(picture, nonce))(pictures), 0)

    def placed(self, part: Float[Array, "b *part"]) -> Float[Array, "offsets b *shape"]:
        """A part at each offset in the shape, 0 around it."""
        free = [side - length for side, length in zip(self.shape, part.shape[1:], strict=True)]
        canvas = jnp.pad(part, [(0, 0), *((room, room) for room in free)])
        corners = np.array(list(np.ndindex(*(room + 1 for room in free))), np.int32)
        size = (part.shape[0], *self.shape)
        return jax.vmap(lambda corner: jax.lax.dynamic_slice(canvas, (0, *corner), size))(corners)

    def checked(self, observed: ArrayLike, nonce: ArrayLike | None, *, full: bool = False) -> Array:
        """The observed noise or pictures, as an array. Raises as `score` does. full: parts are refused, too."""
        checks.floating("observed", observed)
        part, shape = observed.shape[1:], self.shape
        if len(part) != len(shape) or any(
            not side >= length >= (side if full else 1) for length, side in zip(part, shape, strict=True)
        ):
            parts = "" if full else " and its parts"
            raise ValueError(f"the watermark is for the shape {shape}{parts}, but observed is {list(observed.shape)}")
        self.check_nonce(nonce, observed.shape[0])
        return jnp.asarray(observed)

    def check_nonce(self, nonce: ArrayLike | None, count: int) -> None:
        """TypeError for a nonce that is missing or not taken, ValueError for one of another shape."""
        if (nonce is not None) != self.needs_nonce:
            how = (
                "needs the nonce of each picture, as of nonces(key, index)"
                if self.needs_nonce
                else "takes no nonce: leave it out"
            )
            raise TypeError(f"{type(self).__name__} {how}")
        if nonce is not None:
            if np.shape(nonce) != (count, 2):
                raise ValueError(f"nonce has shape {np.shape(nonce)}, but {count} pictures need ({count}, 2)")
            if not jnp.issubdtype(jnp.result_type(nonce), jnp.integer):
                raise TypeError(f"nonce must hold integers, got {jnp.result_type(nonce)}")


@record
class TreeRing(ImageWatermark):
    """Built by `tree_ring`."""

    radius: int = static()
    channel: int = static()

    def write(self, key: jax.Array, index: Integer[ArrayLike, "b"]) -> Float[Array, "b *shape"]:
        """Standard normal noise with the rings in its spectrum.

        Args:
            key: one typed key, that of the draw.
            index: (b,) names the samples, as for `diffusion.sample`.
        """
        noise = first_noise(key, index, self.shape)
        spectrum = jnp.where(self.disc, self.pattern()[None], jnp.fft.fft2(noise[..., self.channel]))
        # the spectrum is Hermitian, so nothing is lost
        return noise.at[..., self.channel].set(jnp.fft.ifft2(spectrum).real)

    def fit(self, full: Float[Array, "b *shape"], nonce: ArrayLike | None) -> Float[Array, "b"]:
        """Minus the RMS distance of spectrum and rings in units of the noise: about −√2 without the mark, 0 at best."""
        rings, upper = _geometry(self.shape[:2], self.radius)
        chosen, which = np.nonzero(((rings > 0) & upper).ravel())[0], rings[(rings > 0) & upper] - 1
        spectrum = jnp.fft.fft2(full[..., self.channel]).reshape(full.shape[0], -1)[:, chosen]
        member = np.eye(self.radius, dtype=np.float32)[which]
        centre = spectrum @ (member / member.sum(0))
        # what no key changes, so that many keys cost little
        within = jnp.sum(jnp.abs(spectrum - centre[:, which]) ** 2, 1)
        between = jnp.sum(member.sum(0)[None] * jnp.abs(centre - self.values()[None]) ** 2, 1)
        return -jnp.sqrt((within + between) / (len(which) * math.prod(self.shape[:2])))

    def values(self) -> Complex[Array, "rings"]:
        """The number of each ring. Their energy is that of noise, whatever the key."""
        count = np.bincount(_geometry(self.shape[:2], self.radius)[0].ravel())[1:].astype(np.float32)
        uniform = (_hashed(self.words, _RINGS, 2 * self.radius) >> 8).astype(jnp.float32) + 0.5
        normal = jax.scipy.special.ndtri(uniform * 2.0**-24).reshape(2, self.radius)
        scale = jnp.sqrt(count.sum() * math.prod(self.shape[:2]) / jnp.sum(count * jnp.sum(normal**2, 0)))
        return scale * (normal[0] + 1j * normal[1])

    def pattern(self) -> Complex[Array, "h w"]:
        """The rings where `disc` is, 0 elsewhere: Hermitian, so that it is the spectrum of a real picture."""
        rings, upper = _geometry(self.shape[:2], self.radius)
        ring = self.values()[np.maximum(rings - 1, 0)]
        return jnp.where(self.disc[0], jnp.where(upper, ring, ring.conj()), 0.0)

    @property
    def disc(self) -> np.ndarray:
        """(1, h, w) which frequencies carry the mark."""
        return _geometry(self.shape[:2], self.radius)[0][None] > 0


@record
class BitMark(ImageWatermark):
    """A mark of many signs, each chosen by the key and one of the payload's bits.

    Attributes:
        bits: (k,) the payload, 0 or 1.
    """

    bits: ArrayLike

    @abc.abstractmethod
    def evidence(self, observed: Float[Array, "b *shape"]) -> Float[Array, "b places"]:
        """For each sign a number that leans to its side in a marked picture."""

    @property
    @abc.abstractmethod
    def places(self) -> int:
        """The number of signs."""

    def key_signs(self, nonce: ArrayLike | None) -> Float[Array, "#b places"]:
        """The signs that encrypt the payload, −1 or 1."""
        return 1.0 - 2.0 * (_hashed(self.words, _SIGNS, self.places, nonce) >> 31).astype(jnp.float32)

    def signs(self, nonce: ArrayLike | None) -> Float[Array, "#b places"]:
        """The signs of a marked picture."""
        return self.key_signs(nonce) * (2.0 * jnp.asarray(self.bits, jnp.float32) - 1.0)[None, self.bit_of_place()]

    def fit(self, full: Float[Array, "b *shape"], nonce: ArrayLike | None) -> Float[Array, "b"]:
        """The cosine between the observed noise and the signs, in [−1, 1], about 0 ± places^−0.5 without the mark."""
        evidence = self.evidence(full)
        size = jnp.linalg.norm(evidence, axis=1) * self.places**0.5
        signs = jnp.broadcast_to(self.signs(nonce), evidence.shape)
        return arrays.safe_divide(jnp.einsum("bp,bp->b", evidence, signs), size)  # one product for many keys

    def votes(
        self, observed: Float[ArrayLike, "b *part"], nonce: Integer[ArrayLike, "b 2"] | None = None
    ) -> Float[Array, "b bits"]:
        """The sum of each bit's signed evidence, above 0 for a 1. Of a part those at the offset where they are loudest.

        The payload is not looked at, and neither is the side that a vote takes where an offset is chosen. Without the
        mark each vote is thus as likely on one side as on the other, whatever the number of offsets. Raises as `score`
        does.
        """
        observed, bit_of_place = self.checked(observed, nonce), self.bit_of_place()
        signs = jnp.broadcast_to(self.key_signs(nonce), (observed.shape[0], self.places))

        def of_one(row: tuple[Array, Array]) -> Array:
            says = self.evidence(self.placed(row[0][None])[:, 0]) * row[1][None]
            votes = jnp.stack([jnp.sum(says[:, bit_of_place == bit], 1) for bit in range(self.bits.shape[0])], 1)
            return votes[jnp.argmax(jnp.sum(jnp.abs(votes), 1))]

        votes: Array = jax.lax.map(of_one, (observed, signs))
        return votes

    def bit_of_place(self) -> np.ndarray:
        """(places,) which bit a sign carries: all as often as can be, scattered over the picture."""
        step = next(
            step
            for step in range(max(1, round(0.618 * self.places)), self.places + 2)
            if math.gcd(step, self.places) == 1
        )
        return np.arange(self.places) * step % self.places % self.bits.shape[0]


@record
class GaussianShading(BitMark):
    """Built by `gaussian_shading`."""

    needs_nonce: ClassVar[bool] = True

    def write(
        self, key: jax.Array, index: Integer[ArrayLike, "b"], nonce: Integer[ArrayLike, "b 2"]
    ) -> Float[Array, "b *shape"]:
        """Standard normal noise whose signs are the encrypted bits, and whose sizes are chance.

        Args:
            key: one typed key, that of the draw.
            index: (b,) names the samples, as for `diffusion.sample`.
            nonce: (b, 2) a number of its own for each picture, which travels with it and is no secret; see `nonces`.

        Raises:
            TypeError: without a nonce.
            ValueError: for one of another shape.
        """
        self.check_nonce(nonce, len(index))
        noise = first_noise(key, index, self.shape)
        return jnp.abs(noise) * self.signs(nonce).reshape(noise.shape)

    def evidence(self, observed: Float[Array, "b *shape"]) -> Float[Array, "b places"]:
        """The noise itself: a large number rarely changes its sign."""
        return arrays.flatten_samples(observed)

    @property
    def places(self) -> int:
        """The number of signs: one for each number of the noise."""
        return math.prod(self.shape)


def tree_ring(key: int, shape: Sequence[int], *, radius: int, channel: int = 0) -> TreeRing:
    """Write rings into a disc of the spectrum of one channel of the noise. Also known as: tree-ring watermark.

    Ring r holds one complex number at all frequencies whose distance from the centre rounds up to r in the upper half
    of the plane, and its conjugate in the lower half, as the spectrum of a real picture asks. A pattern that is not
    Hermitian would lose half of its energy when the real part is taken. The centre, the mean of the noise, stays as it
    is. All keys give patterns of one energy, so that none of them is nearer to unmarked noise than others.

    Every picture by one key has the same rings: pictures are not distributed as unmarked ones, and their mean shows the
    mark.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        shape: (h, w, c) of the noise.
        radius: of the disc in cycles per picture, 1 … (min(h, w) − 1) // 2.
        channel: which one, 0 … c − 1.

    Raises:
        ValueError: for numbers out of range.

    References:
        Wen et al., 2023, Sec. 3.2, "rings" (from memory), with Hermitian symmetry and equal energy.
    """
    sides = checked_shape(shape, plane=True)
    checks.integer("radius", radius, 1, (min(sides[:2]) - 1) // 2)
    checks.integer("channel", channel, 0, sides[2] - 1)
    return TreeRing(keyed_hash.key(key), sides, radius, channel)


def gaussian_shading(key: int, shape: Sequence[int], bits: Sequence[int]) -> GaussianShading:
    """Let encrypted bits choose the sign of each number of the noise, and chance its size.

    Each bit is repeated at places all over the picture. The signs are those of a keyed stream, turned over where the
    bit is 0. A number with a fair sign and the size of a normal one is normal, so the noise of a picture is exactly
    standard normal over keys and nonces. Two pictures with one nonce have all signs in common: a set of such pictures
    shows the mark, however normal each of them looks.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        shape: of the noise.
        bits: 0 or 1 each, at most as many as the noise has numbers.

    Raises:
        ValueError: for numbers out of range.

    References:
        Yang et al., 2024, Sec. 4 with l = 1 (from memory); the stream is `keyed_hash`, not ChaCha20.
    """
    sides = checked_shape(shape)
    return GaussianShading(keyed_hash.key(key), sides, checked_bits(bits, math.prod(sides)))


def nonces(key: jax.Array, index: Integer[ArrayLike, "b"]) -> UInt32[Array, "b 2"]:
    """A nonce for each sample, from key and index: pass a key that no other set of pictures has."""
    keys = arrays.fold_in(sample_keys.keys_of(key, index), np.uint32(_NONCE))
    return jax.vmap(lambda sample_key: jax.random.bits(sample_key, (2,), jnp.uint32))(keys)


def first_noise(key: jax.Array, index: Integer[ArrayLike, "b"], shape: tuple[int, ...]) -> Float[Array, "b *shape"]:
    """The noise in float32 that `diffusion.sample` starts from, before it is scaled."""
    return sample_keys.first_noise(sample_keys.keys_of(key, index), shape, jnp.float32)


def checked_bits(bits: Sequence[int], most: int) -> np.ndarray:
    """A payload (k,) of 0 and 1, at least one and at most `most`. ValueError or TypeError for another one."""
    if not 1 <= len(bits) <= most:
        raise ValueError(f"bits has {len(bits)} entries: it must have 1 … {most}")
    for bit in bits:
        checks.integer("a bit", bit, 0, 1)
    return np.array(bits, np.uint32)


def checked_shape(shape: Sequence[int], *, plane: bool = False) -> tuple[int, ...]:
    """The sides of a picture, (h, w, c) where it must be a plane with channels. ValueError or TypeError for others."""
    if len(shape) == 0 or (plane and len(shape) != 3):
        raise ValueError(f"shape = {tuple(shape)} must be {'(h, w, c)' if plane else 'one side or more'}")
    for side in shape:
        checks.integer("a side of shape", side, 1)
    return tuple(map(int, shape))


def _hashed(words: jax.Array, purpose: int, count: int, nonce: ArrayLike | None = None) -> UInt32[Array, "*b count"]:
    """`count` words for each nonce, or (1, count) without one."""
    state = keyed_hash.taken(keyed_hash.start(words), purpose)
    first, second = (word[None, None] for word in state)
    if nonce is not None:
        for part in (0, 1):
            first, second = keyed_hash.taken((first, second), jnp.asarray(nonce)[:, part, None])
    return keyed_hash.word(keyed_hash.taken((first, second), jnp.arange(count)[None]))


def _geometry(sides: tuple[int, ...], radius: int) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) the ring of each frequency, 0 where there is none, and whether it lies in the upper half."""
    down, across = (
        np.fft.fftfreq(side, 1 / side)[shape] for side, shape in zip(sides, (np.s_[:, None], np.s_[None]), strict=True)
    )
    rings = np.ceil(np.hypot(down, across) - 1e-9).astype(int)
    return np.where(rings <= radius, rings, 0), (down > 0) | ((down == 0) & (across > 0))
