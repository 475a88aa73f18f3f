"""What the approaches find in trainings whose law is known: without noise, with noise, and how often their intervals hold the truth."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.scaling.scaling_fit import made_sweeps
from experiments.scaling.scaling_fit.config import Config
from gendiff.commands.scaling_fit import loss_plots
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.scaling import fits, published
from gendiff.scaling.fits import Coverage, Points
from gendiff.scaling.laws import Chinchilla

SURFACES: dict[str, Chinchilla] = {
    "hoffmann": published.HOFFMANN,
    "epoch": published.EPOCH,
    "even": made_sweeps.EVEN,
    "uneven": made_sweeps.UNEVEN,
}
CONSTANTS = ("floor", "of_parameters", "of_tokens", "alpha", "beta")
LEVELS = (0.95, 0.5)


def claims(config: Config, progress: Progress) -> Iterator[Claim]:
    """Of sweeps without noise, then of noisy ones."""
    with progress.phase("exact"):
        for name, law in SURFACES.items():
            yield from _exact_claims(config, name, law)
    for seed in config.seeds:
        with progress.phase("tests", seed=seed):
            yield from _ratio_claims(config, seed)
    with progress.phase("coverage"):
        yield from _coverage_claims(config)


def tables(config: Config) -> tuple[Table, ...]:
    """The bias of approach 2 by surface, and all approaches on one noisy sweep."""
    return _bias_table(config), _approach_table(config)


def isoflop_plot(config: Config, path: Any) -> Figure:
    """One noisy sweep with its parabolas."""
    points = _noisy(config, config.seeds[0])
    caption = f"Losses that a law makes up with {config.noise:.0%} noise, the parabola of each budget, and its minimum."
    return loss_plots.isoflop(points, fits.fit_isoflop(points), path, caption)


def relative_error(found: Chinchilla, law: Chinchilla) -> float:
    """The largest of the five constants."""
    return max(abs(float(getattr(found, name)) / float(getattr(law, name)) - 1) for name in CONSTANTS)


def _exact_claims(config: Config, name: str, law: Chinchilla) -> Iterator[Claim]:
    """Without chance, so without intervals."""
    points = _profiles(config, law)
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(points))
    fitted = fits.fit_parametric(points)
    error = relative_error(fitted.law, law) if fitted.converged else math.nan
    yield claim(
        f"recovered-{name}", f"approach 3 without noise, {name}: largest relative error of five constants", error, "<=", "recovered"
    )
    error = relative_error(fits.fit_varpro(points).law, law)
    yield claim(f"varpro-{name}", f"variable projection without noise, {name}: the same", error, "<=", "recovered")
    exponent, factor = _profile_fit(config, law)
    error = abs(exponent - float(law.exponent))
    yield claim(f"slope-{name}", f"approach 2 without noise, {name}: error of the exponent", error, "<=", "slope")
    expected = made_sweeps.parabola_bias(law, config.sizes, config.spread)
    statement = f"approach 2, {name}: factor of the best size at {config.target:g} operations, against that of a parabola"
    yield claim(f"offset-{name}", statement, abs(factor / expected - 1), "<=", "offset")
    if name in ("even", "uneven"):
        statement = f"approach 2, {name}: how far it misses the best size, as a share"
        how: Any = ("<=", "control") if name == "even" else (">=", "claim")
        yield claim(f"biased-{name}", statement, abs(factor - 1), how[0], "biased", kind=how[1])


def _ratio_claims(config: Config, seed: int) -> Iterator[Claim]:
    """p-values are exact: their chance is in the threshold. Least squares is the likeliest fit under normal noise of the log."""
    points = _noisy(config, seed)
    likeliest = fits.fit_parametric(points, delta=math.inf).law
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=len(points))
    how: Any
    for law, name, how in (
        (published.HOFFMANN, "constants of another surface", {"id": "told", "relation": "<="}),
        (published.EPOCH, "the constants that made them", {"id": "told-truth", "relation": ">=", "kind": "control"}),
    ):
        p = fits.likelihood_ratio(points, likeliest, law, residual="normal").p
        statement = f"likelihood-ratio test of noisy losses against {name}: p"
        yield claim(statement=statement, number=p, threshold="told", **how)


def _coverage_claims(config: Config) -> Iterator[Claim]:
    """Replicates of all seeds together."""
    claim = functools.partial(verdicts.against, config.thresholds, None)
    for level in LEVELS:
        counted = [_coverage(config, seed, level) for seed in config.seeds]
        hits = np.concatenate([np.arange(each.replicates) < each.hits for each in counted])
        width = float(np.mean([each.width for each in counted]))
        statement = f"nominal {level:.0%} bootstrap intervals of the exponent that hold the truth"
        how: Any = ("coverage", ">=", "claim") if level == LEVELS[0] else ("coverage-half", "<=", "control")
        share = intervals.share(hits)
        yield claim(how[0], f"{statement}; mean width {width:.3f}", share, how[1], "coverage", n=len(hits), kind=how[2])


def _coverage(config: Config, seed: int, level: float) -> Coverage:
    law, given = published.EPOCH, _profiles(config, published.EPOCH)
    return fits.coverage(law, given, config.noise, config.replicates, resamples=config.resamples, level=level, seed=seed)


def _bias_table(config: Config) -> Table:
    rows = list[tuple[Any, ...]]()
    for name, law in SURFACES.items():
        exponent, factor = _profile_fit(config, law)
        fitted = fits.fit_parametric(_profiles(config, law)).law
        third = float(fitted.optimum(config.target).parameters / law.optimum(config.target).parameters)
        rows.append((name, law.alpha, law.beta, float(law.exponent), exponent, factor, third))
    columns = ("surface", "α", "β", "exponent", "approach 2: exponent", "approach 2: best size over the truth", "approach 3: the same")
    note = (
        f"Sizes from 1/{config.spread:g} to {config.spread:g} times the best, extended to {config.target:g} operations. A parabola is "
        "symmetric and the profile of unequal exponents is not: the slope is right, and every size is off by one factor."
    )
    return Table("Approach 2 without noise", columns, tuple(rows), note=note, main=True)


def _approach_table(config: Config) -> Table:
    points = _noisy(config, config.seeds[0])
    rows: list[tuple[Any, ...]] = [
        ("the truth", float(published.EPOCH.exponent), float(published.EPOCH.optimum(config.target).parameters) / 1e9)
    ]
    approaches: dict[str, Any] = {
        "approach 2, parabolas": fits.fit_isoflop,
        "approach 3, Huber": fits.fit_parametric(points),
        "least squares": fits.fit_parametric(points, delta=math.inf),
        "variable projection": fits.fit_varpro,
    }
    for name, fit in approaches.items():
        drawn = fits.bootstrap(points, fit, resamples=config.shown_resamples, seed=config.seeds[0])
        best = drawn.optimum(config.target)
        rows.append((name, drawn.interval("exponent"), (best[0] / 1e9, best[1] / 1e9, best[2] / 1e9)))
    columns = ("approach", "exponent", f"best size at {config.target:g} operations, billions")
    note = f"{config.noise:.0%} noise; intervals are percentiles of a bootstrap of {config.shown_resamples} draws."
    return Table(f"All approaches on one noisy sweep of {len(points)} trainings", columns, tuple(rows), note=note)


def _profile_fit(config: Config, law: Chinchilla) -> tuple[float, float]:
    """(exponent, factor of the best size at the target) of approach 2 on profiles without noise."""
    fitted = fits.fit_isoflop(_profiles(config, law))
    return float(fitted.exponent), float(fitted.optimum(config.target).parameters / law.optimum(config.target).parameters)


def _profiles(config: Config, law: Chinchilla) -> Points:
    return made_sweeps.profiles(law, config.budgets, config.sizes, config.spread)


def _noisy(config: Config, seed: int) -> Points:
    return made_sweeps.noisy(_profiles(config, published.EPOCH), config.noise, np.random.default_rng(seed))
