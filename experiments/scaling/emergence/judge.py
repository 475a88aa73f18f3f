"""How the emergence experiment judges: claims of every kind of answers in every seed, and the controls."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.scaling.emergence import figures, findings, tables, train
from experiments.scaling.emergence.config import SHUFFLED, Config
from experiments.scaling.emergence.findings import Found
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the networks that training left."""
    found = findings.of_all(config, folder, progress)
    with progress.phase("bootstrap"):
        made = claims(config, found)
    with progress.phase("figures"):
        shown, explorer = figures.every(config, folder, found), figures.by_metric(config, folder, found)
    return Outcome(made, shown, tables.every(config, found), (explorer,))


def claims(config: Config, found: dict[str, Found]) -> tuple[Claim, ...]:
    """Every claim, by what was found with each kind of answers."""
    floor = findings.floors(found[SHUFFLED])
    of_formats = (claim for kind in config.formats for claim in _of_format(config, kind, found[kind], floor))
    return (*of_formats, _control(config, found[SHUFFLED]))


def _of_format(config: Config, kind: str, found: Found, floor: tuple[float, float]) -> Iterator[Claim]:
    sizes, losses = train.parameters(config), findings.table(found, findings.nll_per_digit)
    chains, masked = (findings.table(found, of) for of in (lambda of: of.z, lambda of: of.z_without_a_digit))
    for number, seed in enumerate(config.seeds):
        claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.judged, figure="metrics.png")
        rank = findings.spearman(sizes, losses[:, number])
        yield claim(f"spearman-{kind}", f"Spearman's correlation of size and NLL, {kind} answers", rank, "<=", "spearman")
        small, large = (found[at][number].exact for at in (0, -1))
        yield claim(f"beginning-{kind}", f"exact match of the smallest network, {kind} answers", intervals.share(small), "<=", "beginning")
        yield claim(f"end-{kind}", f"exact match of the largest network, {kind} answers", intervals.share(large), ">=", "end")
        less = _narrower(config, sizes, found, number, floor)
        rises = "decades of size over which digit accuracy rises from 0.1 to 0.9 less those of exact match"
        yield claim(f"narrower-{kind}", f"{rises}, {kind} answers", less, ">=", "narrower")
        samples = found[0][number].sampled
        worst, wrong = (float(np.abs(values[:, number]).max()) for values in (chains, masked))
        chain = "largest |z| over the sizes of sampled exact match against the chain rule"
        yield claim(f"chain-rule-{kind}", f"{chain}, {kind} answers", worst, "<=", "z", n=samples)
        without = f"{chain} with one digit left out"
        yield claim(f"wrong-mask-{kind}", f"{without}, {kind} answers", wrong, ">=", "z", n=samples, kind="control")


def _narrower(config: Config, sizes: np.ndarray, found: Found, seed: int, floor: tuple[float, float]) -> Number | float:
    """The difference of widths. Where the rise of digit accuracy begins below the smallest size it is a lower bound, with an open end."""
    digits, exact = (np.stack([getattr(of[seed], name) for of in found], 1).astype(np.float64) for name in ("digits", "exact"))

    def difference(digits: np.ndarray, exact: np.ndarray) -> float:
        smooth, sharp = findings.bands(sizes, digits.mean(0), exact.mean(0), floor)
        return smooth - sharp

    value = difference(digits, exact)
    if not np.isfinite(value):
        return value
    # a draw in which the rise has no end, or no beginning, says nothing of its width: the worst it can be is the whole range, as a tie
    worst = -float(np.log10(sizes[-1] / sizes[0]))

    def finite(digits: np.ndarray, exact: np.ndarray) -> float:
        drawn = difference(digits, exact)
        return drawn if np.isfinite(drawn) else worst

    value, low, high = intervals.interval(finite, digits, exact, paired=True, resamples=config.resamples)
    return value, low, np.inf if findings.censored(digits.mean(0), floor) else high


def _control(config: Config, shuffled: Found) -> Claim:
    worst = max((of[0].chance for of in shuffled), key=lambda chance: float(np.mean(chance)))
    number = intervals.interval(np.mean, worst, resamples=config.resamples)
    statement = "chance of the right answer after training on shuffled answers, the largest of all sizes"
    claim = functools.partial(verdicts.against, config.thresholds, config.seeds[0], n=len(worst), kind="control", figure="metrics.png")
    return claim("shuffled", statement, number, "<=")
