"""Detection of image watermarks by the secret key, from recovered noise or the picture: exact p-values and the bits.

A p-value is the chance that a picture which was made without the key fits it as well. It is not the chance that a
picture is marked, or is not. `detect` finds it by randomisation, for every mark and whatever pictures are. `read_bits`
counts the bits that agree with the payload, whose number in an unmarked picture is binomial, since the key's signs are
fair. Both take a part of a picture, and search for its offset: fresh keys search as well, and bits are read where votes
are loudest, whatever they say, so that p-values stay exact.

Votes weigh as much as the noise at hand. Inversion that begins at the noise which a picture gained on its way leaves
the votes of flat parts small (see `diffusion.inversion`).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Float64, Int64, Integer

from gendiff.core import checks
from gendiff.core.records import replace
from gendiff.core.types import ArrayLike
from gendiff.provenance import keyed_hash, randomisation
from gendiff.provenance.image_watermarks import BitMark, ImageWatermark, TreeRing

_TIE = 0x54
"""The number that the hash takes to read a bit for which all votes are silent."""


@dataclass(frozen=True)
class ImageDetection:
    """Scores and p-values of pictures under a key.

    Args:
        score: (b,) that of the mark: more is better.
        p: (b,) the share of keys, among this one and fresh ones, that fit as well or better.
    """

    score: Float64[np.ndarray, "b"]
    p: Float64[np.ndarray, "b"]


@dataclass(frozen=True)
class ReadBits:
    """The bits that pictures carry.

    Args:
        bits: (b, k) as read.
        matches: (b,) how many of them agree with the payload.
        p: (b,) the exact chance of so many, or more, in an unmarked picture.
    """

    bits: Int64[np.ndarray, "b k"]
    matches: Int64[np.ndarray, "b"]
    p: Float64[np.ndarray, "b"]


def detect(
    key: jax.Array,
    mark: ImageWatermark,
    observed: Float[ArrayLike, "b *shape"],
    index: Integer[ArrayLike, "b"],
    nonce: Integer[ArrayLike, "b 2"] | None = None,
    *,
    keys: int = 999,
) -> ImageDetection:
    """Test pictures for a watermark, by the rank of its key among fresh ones. Each picture has fresh keys of its own.

    Args:
        key: one typed key, from which the fresh ones are drawn.
        mark: the record that marked them, or one made of the same key and settings.
        observed: (b, *shape) the recovered noise, in units of its standard deviation; for a `spread_spectrum` the
            picture. Or a part of it, from any offset.
        index: (b,) names the pictures: results do not depend on their order.
        nonce: (b, 2) of the pictures, where the mark needs one.
        keys: how many fresh keys, at least 1; no p is below 1 / (keys + 1).

    Raises:
        TypeError: as the mark's `score`.
        ValueError: as the mark's `score`, for an index of another length, and for scores that are not finite.
    """
    checks.integer("keys", keys, 1)
    mark.checked(observed, nonce)
    if np.shape(index)[:1] != observed.shape[:1]:
        raise ValueError(f"index names {np.size(index)} pictures, but there are {observed.shape[0]}")
    scores = np.asarray(_ranked(key, mark, observed, index, nonce, keys), np.float64)
    return ImageDetection(scores[:, 0], randomisation.randomisation_p(scores[:, 0], scores[:, 1:]))


def scores_under(
    words: Integer[ArrayLike, "b k 2"],
    mark: ImageWatermark,
    observed: Float[ArrayLike, "b *shape"],
    nonce: ArrayLike | None = None,
) -> Float[Array, "b k"]:
    """The score of each picture under keys of its own. A pure function under jit.

    Args:
        words: (b, k, 2) keys, as of `randomisation.fresh_keys`.
        mark: whose key is left aside.
        observed: (b, *shape) as of `detect`.
        nonce: (b, 2) as of `detect`.
    """

    def of_image(row: tuple[Array, Array, Array | None]) -> Array:
        keys, image, number = row
        one = None if number is None else number[None]
        scores: Array = jax.vmap(lambda other: replace(mark, words=other).score(image[None], one)[0])(keys)
        return scores

    rows = jnp.asarray(words), jnp.asarray(observed), None if nonce is None else jnp.asarray(nonce)
    scores: Array = jax.lax.map(of_image, rows)
    return scores


def read_bits(
    mark: BitMark, observed: Float[ArrayLike, "b *shape"], nonce: Integer[ArrayLike, "b 2"] | None = None
) -> ReadBits:
    """Read the payload by vote, without knowing it, and then hold it against the mark's own.

    Args:
        mark: its key and settings.
        observed: (b, *shape) as of `detect`.
        nonce: (b, 2) as of `detect`.

    Raises:
        TypeError: as the mark's `score`, and for a mark without bits.
        ValueError: as the mark's `score`.
    """
    if not isinstance(mark, BitMark):
        raise TypeError(f"only marks of bits can be read, got {type(mark).__name__}")
    votes, sent = np.asarray(jax.jit(BitMark.votes)(mark, observed, nonce)), np.asarray(mark.bits, np.int64)
    silent = keyed_hash.taken(keyed_hash.taken(keyed_hash.start(jnp.asarray(mark.words)), _TIE), np.arange(len(sent)))
    bits = np.where(votes == 0, np.asarray(keyed_hash.word(silent) >> 31), votes > 0).astype(np.int64)
    matches = np.sum(bits == sent, 1)
    return ReadBits(bits, matches, scipy.stats.binom.sf(matches - 1, len(sent), 0.5))


def matches_needed(bits: int, false_alarms: float) -> int:
    """The least number of matches that an unmarked picture reaches with at most this probability.

    It is bits + 1 where none is so rare, else the least i with P(X ≥ i) ≤ false_alarms. Where P(X > i) is bounded and i
    itself counts as a match, as in published code, false alarms come several times as often as is stated.

    Args:
        bits: of the payload, at least 1.
        false_alarms: the largest share, in (0, 1].

    Raises:
        ValueError: for numbers out of range.
    """
    checks.integer("bits", bits, 1)
    checks.in_range("false_alarms", false_alarms, 0.0, 1.0, open_low=True)
    return int(np.argmax(np.append(scipy.stats.binom.sf(np.arange(bits + 1) - 1, bits, 0.5), 0.0) <= false_alarms))


def plug_in_p(mark: TreeRing, noise: Float[ArrayLike, "b *shape"]) -> Float64[np.ndarray, "b"]:
    """The p-value published with Tree-Ring, for comparison only: it is not uniform on unmarked pictures.

    It counts each frequency of the disc, where half of them are conjugates of the others, and takes the variance from
    the noise at hand.

    Args:
        mark: by `tree_ring`.
        noise: (b, *shape) recovered.

    References:
        Wen et al., 2023, Eqs. 4 and 5 (from memory).
    """
    inside = mark.disc[0]
    spectrum = np.fft.fft2(np.asarray(mark.checked(noise, None, full=True), np.float64)[..., mark.channel])[:, inside]
    rings = np.asarray(jax.jit(TreeRing.pattern)(mark), np.complex128)[inside]
    variance = np.mean(np.abs(spectrum) ** 2, 1) / 2
    distance, centre = np.sum(np.abs(spectrum - rings) ** 2, 1) / variance, np.sum(np.abs(rings) ** 2) / variance
    return np.asarray(scipy.stats.ncx2.cdf(distance, 2 * len(rings), centre), np.float64)


def _ranked_scores(
    key: jax.Array, mark: ImageWatermark, observed: ArrayLike, index: ArrayLike, nonce: ArrayLike | None, keys: int
) -> Array:
    """(b, 1 + keys) the real key first: all of them by the same program."""
    fresh = randomisation.fresh_keys(key, index, keys)
    mark_words = jnp.broadcast_to(jnp.asarray(mark.words, jnp.uint32), (fresh.shape[0], 1, 2))
    return scores_under(jnp.concatenate([mark_words, fresh], 1), mark, observed, nonce)


_ranked = jax.jit(_ranked_scores, static_argnames="keys")
