"""Cures of guidance compared where they are equally faithful, and where they guide equally hard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.guidance.measures import MEASURES
from experiments.diffusion.sweeps import Sweep
from gendiff.runs.reporting.trends import Trend
from gendiff.runs.reporting.verdicts import Number

SEED = 0
"""Of resamples."""


@dataclass(frozen=True)
class RuleComparison:
    """A rule held against plain guidance. at: each measure. less: the same less plain guidance's. reached: whether as
    faithful.
    """

    scale: Number
    at: Mapping[str, Number]
    less: Mapping[str, Number]
    reached: bool


@dataclass(frozen=True)
class Comparisons:
    """trends: by (subject, measure), the family that Holm's correction is over, and `corrected` their p-values after
    it. ignoring: of adherence where the label is withheld, by subject. equal: each cure at the adherence of plain
    guidance at `moderate`. strong: at the scale `strong` itself; CFG++, which has no such scale, at its largest. essay:
    of each subject, plain guidance at `strong` against 1.
    """

    trends: Mapping[tuple[str, str], Trend]
    corrected: Mapping[tuple[str, str], float]
    ignoring: Mapping[str, Trend]
    equal: Mapping[str, RuleComparison]
    strong: Mapping[str, RuleComparison]
    essay: Mapping[str, RuleComparison]


def at_equal_adherence(rule: Sweep, plain: Sweep, *, resamples: int) -> RuleComparison:
    """The rule where its adherence, a mean over the seeds, first is that of `plain`, a sweep of one scale; linear
    between its scales.

    Where none of its scales is as faithful, at the first of the most faithful. Intervals are of a bootstrap of two
    levels, as in `trends.measure`, that finds the scale anew in each resample.
    """

    def compared(rule_means: Mapping[str, np.ndarray], plain_means: Mapping[str, np.ndarray]) -> np.ndarray:
        scale = matching(rule.scales, rule_means["adherence"], float(plain_means["adherence"][0]))
        at = np.array([np.interp(scale, rule.scales, rule_means[name]) for name in MEASURES])
        return np.array([scale, *at, *(at - [plain_means[name][0] for name in MEASURES])])

    rng = np.random.default_rng(SEED)
    value = compared(rule.means(), plain.means())
    low, high = np.quantile([compared(*_resampled(rng, rule, plain)) for _ in range(resamples)], (0.025, 0.975), axis=0)
    scale, *numbers = zip(value.tolist(), low.tolist(), high.tolist(), strict=True)
    at, less = (dict(zip(MEASURES, each, strict=True)) for each in (numbers[: len(MEASURES)], numbers[len(MEASURES) :]))
    return RuleComparison(scale, at, less, bool(rule.means()["adherence"].max() >= plain.means()["adherence"][0]))


def matching(scales: Sequence[float], adherence: np.ndarray, target: float) -> float:
    """The least scale at which adherence, linear between the ascending scales, is `target`; that of its first maximum
    if none is.
    """
    best = np.maximum.accumulate(adherence)
    if target > best[-1]:
        return float(scales[int(np.argmax(adherence))])
    after = int(np.searchsorted(best, target))
    return (
        float(np.interp(target, best[after - 1 : after + 1], scales[after - 1 : after + 1]))
        if after
        else float(scales[0])
    )


def _resampled(rng: np.random.Generator, *sweeps: Sweep) -> list[dict[str, np.ndarray]]:
    """Means over seeds drawn again and, within each, rows drawn again: the same ones in all sweeps."""
    first = sweeps[0].tables
    seeds = rng.integers(len(first["adherence"]), size=len(first["adherence"]))
    means: list[dict[str, np.ndarray]] = [{} for _ in sweeps]
    for name in MEASURES:
        rows = [(seed, rng.integers(first[name][seed].shape[1], size=first[name][seed].shape[1])) for seed in seeds]
        for sweep, mean in zip(sweeps, means, strict=True):
            mean[name] = np.mean([sweep.tables[name][seed][:, row].mean(axis=1) for seed, row in rows], axis=0)
    return means
