"""Scores of unmarked text under random keys, and the mistake of counting every repeat."""

from dataclasses import dataclass

import jax
import numpy as np
import scipy

from experiments.provenance.watermark_text import marks
from experiments.provenance.watermark_text.config import Config
from gendiff import language
from gendiff.data import text
from gendiff.provenance import text_detection
from gendiff.provenance.text_watermarks import Gumbel, TextWatermark, Tournament, threshold

BYTES = 256
"""The vocabulary of bytes: text in them repeats itself often."""


@dataclass(frozen=True)
class Null:
    """Of unmarked texts. z: (n,). uniform: (n,) p-values, randomised where the law is discrete: uniform if the law is
    right.
    """

    z: np.ndarray
    uniform: np.ndarray

    @property
    def law(self) -> float:
        """p-value of a Kolmogorov-Smirnov test that they are uniform."""
        return float(scipy.stats.kstest(self.uniform, "uniform").pvalue)


def pieces(ids: np.ndarray, length: int, count: int) -> np.ndarray:
    """(count, length) of a line of tokens; the texts come again where there are fewer, as each will have a key of its
    own.
    """
    rows = ids[: len(ids) // length * length].reshape(-1, length)
    return rows[np.arange(count) % len(rows)]


def in_bytes() -> np.ndarray:
    """Python's manual as bytes."""
    return np.frombuffer("\n".join(text.python_manual().texts).encode(), np.uint8).astype(np.int32)


def ids(tokenizer: language.tokens.LanguageTokenizer) -> np.ndarray:
    """Python's manual in tokens."""
    return np.asarray(tokenizer.encode("\n".join(text.python_manual().texts)), np.int32)


def measured(config: Config, kind: str, rows: np.ndarray, vocabulary: int, seed: int) -> Null:
    """Every row (n, s) under a key of its own."""
    rng, z, uniform = np.random.default_rng(seed), [], []
    for row, key in zip(rows, marks.keys(len(rows), seed, marks.KINDS.index(kind), vocabulary), strict=True):
        mark = marks.build(config, kind, key, vocabulary)
        result = text_detection.detect(mark, row[None])
        z.append(result.z[0])
        uniform.append(
            randomised(mark, float(result.z[0]), int(result.scored[0]), float(result.p[0]), float(rng.uniform()))
        )
    return Null(np.array(z), np.array(uniform))


def randomised(mark: TextWatermark, z: float, scored: int, p: float, chance: float) -> float:
    """The chance of a higher score, and of an equal one times `chance`: uniform under the exact law."""
    if isinstance(mark, Gumbel):
        return p
    share = 0.5 if isinstance(mark, Tournament) else int(threshold(np.float32(mark.gamma))) / 2**32  # type: ignore[attr-defined]
    trials = scored * (mark.layers if isinstance(mark, Tournament) else 1)
    hits = round(z * np.sqrt(trials * share * (1 - share)) + share * trials)
    return float(scipy.stats.binom.sf(hits, trials, share) + chance * scipy.stats.binom.pmf(hits, trials, share))


def with_repeats(config: Config, rows: np.ndarray, vocabulary: int, seed: int) -> np.ndarray:
    """(n,) z of green lists where every repeat of a choice counts: the mistake."""
    scores, z = jax.jit(text_detection.scores), []
    for row, key in zip(rows, marks.keys(len(rows), seed, len(marks.KINDS), vocabulary), strict=True):
        mark = marks.build(config, marks.GREEN, key, vocabulary)
        gains = mark.gains(np.asarray(scores(mark, row)[0]))
        z.append(float(mark.law(gains.sum(), len(gains))[0]))
    return np.array(z)
