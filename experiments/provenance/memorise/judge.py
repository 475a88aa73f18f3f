"""Shares of copies, times of memorisation, copies that are regenerated, and agreement of halves, as claims."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.provenance import logistic
from experiments.provenance.memorise import figures, findings, measures, sets
from experiments.provenance.memorise.config import Config
from experiments.provenance.memorise.findings import Found
from gendiff.data import digits
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the samples that training left."""
    found, split = findings.of_all(config, folder, progress), digits.load()
    claims = [claim for seed, of in zip(config.seeds, found, strict=True) for claim in _of_seed(config, seed, of)]
    with progress.phase("claims"):
        claims += [*_of_all(config, found), *_controls(config, split.train_images[found[0].learned[0].rows])]
    shown = figures.every(config, folder, found, split)
    return Outcome(tuple(claims), shown, (figures.sizes_table(config, found, split), figures.copies_table(config, found)))


def _of_seed(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed)
    for id, at in (("memorised", 0), ("generalised", len(config.sizes) - 1)):
        relation: verdicts.Relation = ">=" if id == "memorised" else "<="
        statement, hits = f"share of copies among samples at the last step: {config.sizes[at]} pictures", found.hits[at]
        yield claim(id, statement, intervals.share(hits), relation, n=len(hits), figure="shares.png")
    yield from _copies(config, seed, found)
    yield from _agreement(config, seed, found)


def _copies(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, figure="regenerated.png")
    times, marked = sets.times(config), len(config.copies) * config.copied
    hits, plain = found.regenerated[:2, :marked]
    of, options = functools.partial(claim, n=marked), {"resamples": config.resamples, "permutations": config.permutations}
    yield from logistic.claims(of, "copies-", "a picture is regenerated", times[:marked], hits, **options)
    without = logistic.permuted(np.log2(times[:marked]), plain, config.permutations)
    statement = "p-value by permutation of the same pictures in the de-duplicated set"
    yield claim("deduplicated", statement, without, ">=", "p_value", n=marked, kind="control")
    single = found.regenerated[0, times == 1]
    statement = "share of the pictures that stand once beside others with copies which are regenerated"
    yield claim("once", statement, intervals.share(single), "<=", n=len(single))


def _agreement(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=found.agreements.shape[1], figure="agreement.png")
    small, large = found.agreements[0], found.agreements[-1]
    most = f"cosine of samples by two networks of {config.halves[-1]} disjoint pictures, less that of shuffled pairs"
    more = f"the same, less that of {config.halves[0]} disjoint pictures"
    yield claim("agreement", most, intervals.interval(np.mean, large, resamples=config.resamples), ">=")
    growth = intervals.interval(intervals.difference_of_means, large, small, paired=True, resamples=config.resamples)
    yield claim("agreement-growth", more, growth, ">=")


def _of_all(config: Config, found: list[Found]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    times = np.stack([of.crossings(config) for of in found])
    known = int(np.isfinite(times).all(0).sum())
    statement = f"slope of log time of memorisation on log pictures (1 in proportion), of the {known} of {times.shape[1]} sizes memorised"
    yield claim("slope", statement, measures.power(config.sizes, times), ">=", n=max(1, known * len(found)), figure="shares.png")
    most = sets.times(config) == config.copies[-1]
    often, plain = (np.concatenate([of.regenerated[at, most] for of in found]) for at in range(2))
    statement = f"share of the pictures with {config.copies[-1]} copies that are regenerated"
    yield claim("often", statement, intervals.share(often), ">=", n=len(often), figure="regenerated.png")
    less = intervals.interval(intervals.difference_of_means, often * 1.0, plain * 1.0, paired=True, resamples=config.resamples)
    yield claim("removed", f"{statement}, less that in the de-duplicated set", less, ">=", n=len(often), figure="regenerated.png")


def _controls(config: Config, images: np.ndarray) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None, n=config.samples, kind="control")
    hits = findings.controls(config, images)
    of_all, of_none = (intervals.share(hits[name]) for name in ("memoriser", "gaussian"))
    yield claim("memoriser", "share of copies among samples of the exact memoriser", of_all, ">=", "generalised")
    yield claim("gaussian", "the same of a Gaussian with the pictures' covariance", of_none, "<=", "memorised")
