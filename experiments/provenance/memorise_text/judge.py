"""Extraction and exposure of canaries by copies, size and length of the prefix, as claims."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.provenance import logistic
from experiments.provenance.memorise_text import train
from experiments.provenance.memorise_text.config import Config
from experiments.provenance.memorise_text.train import LARGE, SIZES, SMALL, Corpus
from gendiff import networks
from gendiff.provenance import extraction
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Found:
    """Of one model and seed.

    extracted: (prefixes, canaries) whether greedy decoding gives the suffix of each canary in the text; unseen: the same of the others.
    exposure, unseen_exposure: (canaries,) in bits.
    """

    extracted: np.ndarray
    unseen: np.ndarray
    exposure: np.ndarray
    unseen_exposure: np.ndarray


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every model with every seed."""
    corpora = [train.corpus(config, seed) for seed in config.seeds]
    found: list[list[Found]] = []
    for size, name in enumerate(SIZES):
        predict = _predict(config, size)
        with progress.phase(f"judge {name}"):
            params = [train.restore(config, folder, size, seed) for seed in config.seeds]
            found.append([_found(config, functools.partial(predict, of), texts) for of, texts in zip(params, corpora, strict=True)])
    copies = np.stack([texts.copies for texts in corpora])
    with progress.phase("claims"):
        claims = [claim for at, seed in enumerate(config.seeds) for claim in _of_seed(config, seed, found[LARGE][at], copies[at])]
        claims += _of_all(config, found)
    shown = (_extraction_plot(config, folder, found), _exposure_plot(config, folder, found))
    return Outcome(tuple(claims), shown, (_table(config, found),))


def _predict(config: Config, size: int) -> Callable[[Any, jax.Array], jax.Array]:
    """(parameters, tokens) -> logits."""
    predict = networks.pure(train.network(config, size))
    return devices.jit(lambda params, tokens: predict(params, tokens).logits)


def _found(config: Config, predict: Callable[[jax.Array], jax.Array], texts: Corpus) -> Found:
    asked = np.concatenate([texts.seen, texts.unseen])
    known = len(texts.seen)
    ends = {prefix: asked[:, config.letters - config.suffix - prefix :] for prefix in config.prefixes}
    extracted = np.stack([extraction.discoverable(predict, end, prefix).extracted for prefix, end in ends.items()])
    likelihood = log_likelihood(predict, np.concatenate([asked, texts.candidates]))
    exposure = extraction.exposure(likelihood[: len(asked)], likelihood[len(asked) :])
    return Found(extracted[:, :known], extracted[:, known:], exposure[:known], exposure[known:])


def log_likelihood(predict: Callable[[jax.Array], jax.Array], tokens: np.ndarray) -> np.ndarray:
    """(n,) of all letters but the first one."""
    given = jnp.asarray(tokens)
    logs = jax.nn.log_softmax(predict(given)[:, :-1], 2)
    return np.asarray(jnp.take_along_axis(logs, given[:, 1:, None], 2)[..., 0].sum(1), np.float64)


def _of_seed(config: Config, seed: int, found: Found, copies: np.ndarray) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed)
    of = functools.partial(claim, n=len(copies), figure="extraction.png")
    options = {"resamples": config.resamples, "permutations": config.permutations}
    yield from logistic.claims(of, "", "the larger model gives a canary away", copies, found.extracted[-1], **options)
    control: dict[str, Any] = {"n": len(found.unseen_exposure), "kind": "control"}
    bits = intervals.interval(np.mean, found.unseen_exposure, resamples=config.resamples)
    statement = f"distance in bits of the mean exposure of unseen canaries from {extraction.UNSEEN:.2f}"
    yield claim("unseen-exposure", statement, verdicts.away(bits, extraction.UNSEEN), "<=", figure="exposure.png", **control)
    statement = "share of unseen canaries that the larger model gives away"
    yield claim("unseen-extracted", statement, intervals.share(found.unseen[-1]), "<=", **control)


def _of_all(config: Config, found: list[list[Found]]) -> Iterator[Claim]:
    """Canaries of all seeds together; each is asked of both models and after all prefixes."""
    small, large = (np.concatenate([of.extracted for of in each], 1).astype(np.float64) for each in (found[SMALL], found[LARGE]))
    claim = functools.partial(verdicts.against, config.thresholds, None, n=large.shape[1], figure="extraction.png")
    difference = functools.partial(intervals.interval, intervals.difference_of_means, paired=True, resamples=config.resamples)
    statement = "share of canaries that the larger model gives away less that of the smaller one"
    yield claim("larger", statement, difference(large[-1], small[-1]), ">=")
    first, last = config.prefixes[0], config.prefixes[-1]
    statement = f"share that the larger model gives away after {last} letters less that after {first}"
    yield claim("longer", statement, difference(large[-1], large[0]), ">=")


def _by_copies(config: Config, values: list[np.ndarray]) -> np.ndarray:
    """(copies, …) means of values (canaries,) of all seeds, which stand in the order of their copies."""
    return np.mean(np.stack(values).reshape(len(values), len(config.copies), config.canaries), (0, 2))


def _extraction_plot(config: Config, folder: RunFolder, found: list[list[Found]]) -> Figure:
    curves = []
    for size, at in ((LARGE, -1), (LARGE, len(config.prefixes) // 2), (LARGE, 0), (SMALL, -1)):
        label = f"{SIZES[size]} model, {config.prefixes[at]} letters given"
        curves.append(figures.Curve(label, config.copies, _by_copies(config, [of.extracted[at] for of in found[size]])))
    caption = f"Share of canaries whose last {config.suffix} letters greedy decoding gives, against their copies: means over seeds."
    return figures.curves(curves, folder.figure("extraction"), caption, x_label="copies", y_label="share extracted", log_x=True)


def _exposure_plot(config: Config, folder: RunFolder, found: list[list[Found]]) -> Figure:
    curves = [
        figures.Curve(f"{name} model", config.copies, _by_copies(config, [of.exposure for of in each]))
        for name, each in zip(SIZES, found, strict=True)
    ]
    most = float(np.log2(config.candidates + 1))
    caption = f"Mean exposure of canaries against their copies. It cannot exceed {most:.1f} bits: there are {config.candidates} candidates."
    limits = (("unseen", extraction.UNSEEN),)
    return figures.curves(
        curves, folder.figure("exposure"), caption, x_label="copies", y_label="exposure in bits", log_x=True, thresholds=limits
    )


def _table(config: Config, found: list[list[Found]]) -> Table:
    columns = ["copies"]
    values: list[np.ndarray] = []
    for name, each in zip(SIZES, found, strict=True):
        columns += [f"{name}: extracted", f"{name}: exposure in bits"]
        seen = [_by_copies(config, [of.extracted[-1] for of in each]), _by_copies(config, [of.exposure for of in each])]
        unseen = [np.mean([of.unseen[-1] for of in each]), np.mean([of.unseen_exposure for of in each])]
        values += [np.append(without, of) for without, of in zip(unseen, seen, strict=True)]
    rows = tuple((copies, *(float(column[at]) for column in values)) for at, copies in enumerate((0, *config.copies)))
    title = f"Canaries of which {config.prefixes[-1]} letters are given, means over seeds."
    return Table(title, tuple(columns), rows, main=True)
