"""Extraction of training data from a language model: exposure, discoverable extraction, k-eidetic counts, rankings.

A canary is a random text that is put into the training data on purpose, so that whatever the model knows of it, it
learned there.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.provenance import attack_rates

UNSEEN = float(np.log2(np.e))
"""Mean exposure of a canary that was never trained on, in bits, for many candidates: its rank is uniform."""


def exposure(
    canaries: Shaped[ArrayLike, "n"], candidates: Shaped[ArrayLike, "m"], *, enumerated: bool = False
) -> Float64[np.ndarray, "n"]:
    """How much likelier a model holds canaries than other texts of their form: log2 |R| − log2 rank, in bits.

    With a sample of candidates, the rank is that among the sample and the canary itself, and |R| is m + 1. This
    estimate never exceeds log2(m + 1): a canary that is likelier than all candidates may have a larger true exposure.
    It is unbiased for the share of likelier texts, and its logarithm is low for canaries whose true exposure is near
    this limit or above. An unseen canary averages log2(m + 1) − log2((m + 1)!) / (m + 1), which tends to log2 e = 1.44.

    Args:
        canaries: (n,) log-likelihood of each.
        candidates: (m,) log-likelihood of random texts of the same form, drawn like the canaries and not trained on.
        enumerated: the candidates are all texts of R, the canaries among them; the exposure is then exact.

    Returns:
        (n,) exposures, at least 0. A tie counts half a rank, so that a model that knows nothing exposes nothing.

    Raises:
        ValueError: for likelihoods that are none, and for an enumeration that lacks a canary.

    References:
        Carlini et al., 2019, Definitions 4 and 5 (from memory).
    """
    pairs = ("canaries", canaries), ("candidates", candidates)
    known, others = (attack_rates.checked_scores(name, values, "log-likelihoods") for name, values in pairs)
    ordered = np.sort(others)
    above = len(others) - np.searchsorted(ordered, known, side="right")
    tied = len(others) - np.searchsorted(ordered, known, side="left") - above
    if enumerated:
        if np.any(tied == 0):
            raise ValueError(
                "candidates lacks a canary: all texts of R are needed for an exact exposure, or enumerated=False"
            )
        tied = tied - 1
    size = len(others) + (not enumerated)
    bits: np.ndarray = np.log2(size) - np.log2(1 + above + tied / 2)
    return bits


@dataclass(frozen=True)
class Extraction:
    """Results of greedy decoding after true prefixes.

    Args:
        extracted: (n,) whether it continues the prefix by all of the suffix.
        matched: (n,) how many tokens of the suffix come before the first wrong one.
    """

    extracted: Bool[np.ndarray, "n"]
    matched: Int64[np.ndarray, "n"]


def discoverable(predict: Callable[[jax.Array], jax.Array], tokens: Int[ArrayLike, "n s"], prefix: int) -> Extraction:
    """Test whether greedy decoding after a true prefix gives the true suffix.

    It reads the whole text once: greedy decoding follows the suffix exactly if each of its tokens is the likeliest one
    after those before it. Where two logits nearly tie, a decoder with a cache may round to the other one.

    Args:
        predict: tokens (n, s) -> logits (n, s, v) of the token after each one.
        tokens: (n, s) ids, prefix and suffix.
        prefix: how many tokens are given, in [1, s).

    Raises:
        TypeError: for ids that are no integers.
        ValueError: for a prefix that leaves no suffix, and logits of another shape.

    References:
        Carlini et al., 2023, Definition 3.1 (from memory).
    """
    shape = np.shape(tokens)
    if len(shape) != 2:
        raise ValueError(f"tokens has shape {shape}: (texts, tokens) is needed")
    checks.integer("prefix", prefix, 1, shape[1] - 1)
    ids = jnp.asarray(tokens)
    logits = predict(ids)
    if logits.ndim != 3 or logits.shape[:2] != shape:
        raise ValueError(
            f"predict answered shape {logits.shape} to tokens of shape {shape}: logits {(*shape, 'v')} are needed"
        )
    checks.ids("tokens", ids, logits.shape[2])
    right = np.asarray(jnp.argmax(logits[:, prefix - 1 : -1], -1) == ids[:, prefix:])
    matched = np.cumprod(right, 1, dtype=np.int64).sum(1)
    return Extraction(right.all(1), matched)


def eidetic(texts: Sequence[str | bytes], documents: Sequence[str | bytes]) -> Int64[np.ndarray, "n"]:
    """Count the documents that hold each text word for word: an extracted text with count k is k-eidetic memorised.

    Args:
        texts: none of them empty.
        documents: of the same kind.

    Raises:
        ValueError: for an empty text, which every document holds.

    References:
        Carlini et al., 2021, Definition 2 (from memory).
    """
    if any(not text for text in texts):
        raise ValueError("texts holds an empty one, which every document holds")
    return np.array([sum(text in document for document in documents) for text in texts], np.int64)  # type: ignore[operator]


def extraction_scores(
    nll: Shaped[ArrayLike, "n"],
    texts: Sequence[bytes],
    *,
    smaller: Shaped[ArrayLike, "n"] | None = None,
    lower_case: Shaped[ArrayLike, "n"] | None = None,
) -> dict[str, Float64[np.ndarray, "n"]]:
    """Rank drawn texts by how likely they are copies of training data: higher means likelier.

    Args:
        nll: (n,) mean −log p per token under the model, in nats, above 0.
        texts: (n,) the bytes of each.
        smaller: (n,) the same under a smaller model of the same data.
        lower_case: (n,) the same of the text in lower case under the model itself.

    Returns:
        "perplexity": −nll. "zlib": compressed bytes / nll. "smaller" and "lower_case", where they are given: their
        ratio to nll.

    Raises:
        ValueError: for numbers that are not above 0, and for different counts.

    References:
        Carlini et al., 2021, section 5.2 (from memory).
    """
    measured = {"nll": nll, "smaller": smaller, "lower_case": lower_case}
    for name, values in measured.items():
        if values is not None:
            checks.in_range(name, values, 0.0, np.inf, open_low=True, open_high=True)
            checks.same_shape(name, values, "texts", np.empty(len(texts)))
    losses = np.asarray(nll, np.float64)
    scores = {"perplexity": -losses, "zlib": np.array([len(zlib.compress(text)) for text in texts]) / losses}
    return scores | {
        name: np.asarray(each, np.float64) / losses
        for name, each in measured.items()
        if each is not None and name != "nll"
    }
