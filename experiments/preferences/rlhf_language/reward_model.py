"""A reward model of rankings: logistic regression of frozen features of MiniLM, the Bradley-Terry model of two scores.

The features of a reply are its encoding and, channel by channel, its product with that of the request, so that a linear
score can ask both how a reply sounds and whether it is about the same thing. MiniLM never changes.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences.rlhf_language.rankings import Pair
from gendiff import networks
from gendiff.commands.text_to_image import texts
from gendiff.core import records
from gendiff.core.types import Params
from gendiff.data import tokenizer
from gendiff.preferences.bradley_terry import Normaliser
from gendiff.runs import devices, drawing
from gendiff.weights import mini_lm

LENGTH = 40
"""Tokens of a text that MiniLM reads; the longest reply of a ranking has 33."""
TOGETHER = 16
"""Texts that are encoded in one call; all calls have one shape."""
ENCODER = texts.ENCODER.clone(normalize=True)


@records.record
class RewardModel:
    """encoder: parameters of MiniLM. weights: (2 · 384,) of the features. normalise: to mean 0 and standard deviation 1
    of the model that is not tuned.
    """

    encoder: Params
    weights: Any
    normalise: Normaliser

    def scores(self, requests: Any, ids: Any, mask: Any) -> jax.Array:
        """(n,) of replies, as tokens (n, s), to requests with these encodings (n, 384)."""
        return self.normalise(features(requests, encode(self.encoder, ids, mask)) @ self.weights)


def scored(model: RewardModel, requests: Sequence[str], replies: Sequence[str]) -> np.ndarray:
    """(n,) scores of replies to requests."""
    margins = features(encodings(requests), encodings(replies)) @ model.weights
    return np.asarray(model.normalise(margins), np.float64)


def features(requests: Any, replies: Any) -> jax.Array:
    """(n, 2 · 384) of encodings (n, 384), which have the length 1; each feature is about as large as one."""
    width = replies.shape[-1]
    return jnp.concatenate([replies * width**0.5, requests * replies * width], -1)


def encode(params: Params, ids: Any, mask: Any) -> jax.Array:
    """(n, 384) of tokens (n, s)."""
    return networks.pure(ENCODER)(params, ids, mask).pooled


def tokens(replies: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask (n, s) of replies; what does not fit is left out, and a reply of spaces is a full stop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tokenizer.TruncationWarning)
        result = _tokenizer()([reply.strip() or "." for reply in replies])
    return np.asarray(result.ids), np.asarray(result.mask)


def encodings(replies: Sequence[str]) -> np.ndarray:
    """(n, 384) of texts."""
    encode_part = functools.partial(_encode(), texts.params())
    parts = drawing.stream(encode_part, [(None, tokens(replies))], together=TOGETHER, padded=True)
    return np.concatenate([part for *_, part in parts])


def accuracy(margins: np.ndarray) -> np.ndarray:
    """(n,) 1 where the better reply scores higher by this margin, and one half for a tie."""
    return (np.sign(margins) + 1) / 2


def fit(margins: np.ndarray) -> np.ndarray:
    """(2 · 384,) weights by the `differences` of rankings: P(better) = logistic(difference of scores).

    References:
        Bradley & Terry, 1952; Ouyang et al., 2022, Eq. 1 (from memory).
    """
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([margins, -margins])
    labels = np.repeat([1, 0], len(margins))
    model = LogisticRegression(fit_intercept=False, max_iter=1000).fit(both, labels)
    return np.asarray(model.coef_[0], np.float32)


def differences(ranked: Sequence[Pair]) -> np.ndarray:
    """(n, 2 · 384) features of the better replies less those of the worse ones."""
    requests, better, worse = (
        encodings(each) for each in zip(*((pair.request.text, pair.better, pair.worse) for pair in ranked), strict=True)
    )
    return np.asarray(features(requests, better) - features(requests, worse))


@functools.cache
def _tokenizer() -> tokenizer.Tokenizer:
    return tokenizer.load(mini_lm.folder(), LENGTH, too_long="warn")


@functools.cache
def _encode() -> Any:
    return devices.jit(encode)
