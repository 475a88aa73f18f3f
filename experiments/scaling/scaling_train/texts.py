"""Bytes of Python's manual and sources as rows for language models, with whole files held out."""

import functools
import hashlib
from typing import NamedTuple

import numpy as np

from experiments.scaling.scaling_train.rows import END, SHUFFLED, Row
from gendiff import language, networks
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Loss
from gendiff.data import batches, text
from gendiff.data.texts.text import Documents

SEED = 0
"""Of the files that are held out, and of the order of shuffled bytes."""


class Corpus(NamedTuple):
    """Rows of tokens (n, length + 1), and held-out ones (m, length + 1), evenly spread over the held-out files.

    files: how many there are in both. digest: of all of both.
    """

    train: np.ndarray
    held_out: np.ndarray
    files: tuple[int, int]
    digest: str


def documents() -> Documents:
    """The manual and the sources of the Python that runs, without texts that mostly repeat others.

    What a distribution leaves out is left out; DataError where that is everything.
    """
    names: list[str] = []
    texts: list[str] = []
    missing: list[str] = []
    for read in (text.python_manual, text.python_sources):
        try:
            files = read()
        except DataError as error:
            missing.append(str(error))
            continue
        names += [f"{read.__name__}/{name}" for name in files.names]
        texts += files.texts
    if not texts:
        raise DataError("; ".join(missing))
    return text.without_copies(Documents(tuple(names), tuple(texts)))


@functools.lru_cache(maxsize=2)
def corpus(length: int, held_out: float, judged: int, shuffled: bool = False) -> Corpus:
    """Cut the documents. shuffled: all bytes of each side in random order, so that nothing can be learned but how
    frequent they are.
    """
    sides = text.split(documents(), held_out, seed=SEED)
    rows = [
        text.rows([np.frombuffer(each.encode(), np.uint8) for each in side.texts], length + 1, END) for side in sides
    ]
    if shuffled:
        rng = np.random.default_rng(SEED)
        rows = [rng.permutation(side.ravel()).reshape(side.shape) for side in rows]
    spread = np.linspace(0, len(rows[1]) - 1, min(judged, len(rows[1]))).round().astype(np.int64)
    train, out = rows[0], rows[1][spread]
    digest = hashlib.sha256(train.tobytes() + out.tobytes()).hexdigest()[:16]
    return Corpus(train, out, (len(sides[0].texts), len(sides[1].texts)), digest)


def corpus_of(row: Row) -> Corpus:
    """The texts of a row of the sweep. ConfigError for a batch of more rows than there are."""
    texts = corpus(row.length, row.held_out, row.judged, row.kind == SHUFFLED)
    if row.batch > len(texts.train):
        raise ConfigError(
            f"--text.batch {row.batch} is more than the {len(texts.train)} rows of --length {row.length} that there are"
        )
    return texts


def batch(row: Row, step: int) -> language.Texts:
    """The rows of text (batch, seeds, length + 1) of one step. Each seed has an order of its own, in which an epoch
    repeats no row.
    """
    train = corpus_of(row).train
    return language.Texts(
        np.stack([train[batches.batch_at(len(train), row.batch, seed, step)] for seed in row.seeds], 1)
    )


def held_out(row: Row) -> language.Texts:
    """Held-out rows of text (m, length + 1)."""
    return language.Texts(corpus_of(row).held_out)


@functools.lru_cache(maxsize=64)  # one object, so that all trainings of a network share a program
def loss(network: networks.LanguageModel) -> Loss:
    """Nats per byte."""
    return language.objective.next_token(networks.pure(network))
