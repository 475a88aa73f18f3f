"""Bootstrap intervals of a fit's constants, and their coverage: how often such an interval holds the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from gendiff.core import checks
from gendiff.scaling.fits import huber
from gendiff.scaling.fits.data_points import Points
from gendiff.scaling.fits.parametric import ParametricFit
from gendiff.scaling.laws import Chinchilla, Frontier
from gendiff.scaling.quantities import Number

ENTRIES = 200_000
"""Lanes times points that are computed at once: what a cache holds."""
WIDER = (10.0, 3.0)
"""Multiples of δ that refits descend first; they begin near their minimum."""


@runtime_checkable
class Fitted(Protocol):
    """The interface of fits of `gendiff.scaling.fits`: numbers by name, `exponent` and `coefficient` among them."""

    @property
    def constants(self) -> dict[str, Number]:
        """The fitted numbers by name."""
        ...


@dataclass(frozen=True, eq=False)
class BootstrapFits:
    """The constants of fits to resampled runs.

    Args:
        whole: name -> constant of the fit to all runs.
        resampled: name -> (m,) of each resample that could be fitted.
        refused: resamples that could not: with too few sizes or budgets, or with a loss that does not fall.
        converged: share of the m that are at a proved minimum; NaN where the fit does not say.
    """

    whole: dict[str, float]
    resampled: dict[str, np.ndarray]
    refused: int
    converged: float

    def interval(self, name: str, level: int | float = 0.95) -> tuple[float, float, float]:
        """Return (value, low, high): the constant of all runs, and the percentiles of the resampled ones.

        Percentile intervals may be too narrow on few runs: `coverage` measures it.

        Args:
            name: of the constant, such as "exponent" or "alpha".
            level: of the interval, in (0, 1).

        Raises:
            ValueError: for an unknown name and a level out of range.
        """
        checks.choice("name", name, self.whole)
        low, high = _percentiles(self.resampled[name], level)
        return self.whole[name], float(low), float(high)

    def optimum(self, flops: int | float, level: int | float = 0.95) -> tuple[float, float, float]:
        """Return (value, low, high) of the best number of parameters at a budget."""
        full, resampled = (
            Frontier(each["coefficient"], each["exponent"]).optimum(flops) for each in (self.whole, self.resampled)
        )
        low, high = _percentiles(np.asarray(resampled.parameters), level)
        return float(full.parameters), float(low), float(high)

    @property
    def laws(self) -> Chinchilla:
        """The law with arrays of constants, of fits that have five; its `optimum` answers arrays.

        Raises:
            ValueError: for fits of a frontier alone.
        """
        names = ("floor", "of_parameters", "of_tokens", "alpha", "beta")
        if names[0] not in self.resampled:
            raise ValueError("this fit has a frontier and no law of loss: use fit_parametric or fit_varpro")
        return Chinchilla(*(self.resampled[name] for name in names))


@dataclass(frozen=True)
class Coverage:
    """How often intervals held the truth.

    Args:
        hits: replicates whose interval did.
        replicates: how many there were.
        width: mean width of the intervals.
        converged: share of all fits that are at a proved minimum.
    """

    hits: int
    replicates: int
    width: float
    converged: float

    @property
    def share(self) -> float:
        """Share of the replicates."""
        return self.hits / self.replicates


def bootstrap(
    table: Points, fit: ParametricFit | Callable[[Points], Fitted], *, resamples: int = 200, seed: int = 0
) -> BootstrapFits:
    """Draw the runs again with replacement, and fit each draw.

    Args:
        table: of the sweep, all runs of it.
        fit: the result of `fit_parametric` on the same table: refits begin at its law, with its δ, without the losses
            that it dropped, and a thousand take seconds. Or any function of a table, such as `fit_isoflop`: it is
            called once per resample.
        resamples: how many, >= 2.
        seed: of the draws.

    Raises:
        ValueError: where more than half of the resamples cannot be fitted.

    References:
        Efron, 1979 (from memory); Besiroglu et al., 2024, section 2.
    """
    checks.integer("resamples", resamples, 2)
    rng = np.random.default_rng(seed)
    if isinstance(fit, ParametricFit):
        remaining = table.without_largest(fit.dropped)
        weights = _counts(rng, resamples, len(remaining))
        target = huber.objective(remaining, fit.delta, weights=weights)
        reached, converged = _refit(target, np.repeat(target.constants_of(fit.law), resamples, axis=0))
        usable = (reached[:, 3:] > 0).all(-1)
        full, all_constants = fit.constants, _by_name(target.law(reached[usable]))
        share = float(converged[usable].mean()) if usable.any() else 0.0
    else:
        full, share = fit(table).constants, float("nan")
        refits = [_fit_or_none(fit, table.take(rng.integers(len(table), size=len(table)))) for _ in range(resamples)]
        each = [constants for constants in refits if constants is not None]
        all_constants = {name: np.array([constants[name] for constants in each], np.float64) for name in full}
    refused = resamples - len(all_constants["exponent"])
    if 2 * refused > resamples:
        raise ValueError(
            f"{refused} of {resamples} resamples could not be fitted: the sweep has too few runs for a bootstrap; "
            "train more"
        )
    return BootstrapFits({name: float(value) for name, value in full.items()}, all_constants, refused, share)


def coverage(
    law: Chinchilla,
    table: Points,
    noise: int | float,
    replicates: int = 100,
    *,
    resamples: int = 50,
    level: int | float = 0.95,
    name: str = "exponent",
    delta: int | float = 1e-3,
    seed: int = 0,
) -> Coverage:
    """Measure how often the bootstrap interval of `fit_parametric` holds the constant of the law that made the losses.

    Args:
        law: the truth; fits begin there.
        table: whose parameters and tokens are taken; its losses are not.
        noise: standard deviation of ln L, > 0.
        replicates: simulated sweeps, >= 1.
        resamples: of each sweep, >= 2.
        level: of the intervals, in (0, 1).
        name: of the constant.
        delta: of the Huber loss, > 0.
        seed: of noise and draws.

    Raises:
        ValueError: for numbers out of range and an unknown name.
    """
    checks.in_range("noise", noise, 0.0, np.inf, open_low=True, open_high=True)
    checks.integer("replicates", replicates, 1)
    checks.integer("resamples", resamples, 2)
    truth = law.constants
    checks.choice("name", name, truth)
    rng, n = np.random.default_rng(seed), len(table)
    losses = law.loss(table.parameters, table.tokens) * np.exp(noise * rng.standard_normal((replicates, n)))
    first = huber.objective(table, float(delta), losses=losses)
    fitted, _ = _refit(first, np.repeat(first.constants_of(law), replicates, axis=0))
    weights = _counts(rng, replicates * resamples, n)
    second = huber.objective(table, float(delta), losses=np.repeat(losses, resamples, axis=0), weights=weights)
    reached, converged = _refit(second, np.repeat(fitted, resamples, axis=0))
    falling = (reached[:, 3:] > 0).all(-1)
    values = np.full(len(reached), np.nan)
    values[falling] = _by_name(second.law(reached[falling]))[name]
    low, high = _percentiles(values.reshape(replicates, resamples), level)
    hits = (low <= truth[name]) & (truth[name] <= high)
    return Coverage(int(hits.sum()), replicates, float(np.mean(high - low)), float(converged.mean()))


def _counts(rng: np.random.Generator, lanes: int, n: int) -> Float64[np.ndarray, "lanes n"]:
    """How often each of n runs is drawn in n draws."""
    return rng.multinomial(n, np.full(n, 1 / n), size=lanes).astype(np.float64)


def _refit(target: huber.Objective, starts: huber.Constants) -> tuple[huber.Constants, Bool[np.ndarray, "m"]]:
    """Constants and whether they are at a minimum, of many lanes, some at a time."""
    ended = []
    for rows in np.array_split(np.arange(len(starts)), -(-len(starts) * len(target.size) // ENTRIES)):
        lanes = target.lanes(rows)
        reached = huber.minimise(lanes, starts[rows], WIDER)
        ended.append((reached.constants, lanes.converged(reached)))
    constants, converged = (np.concatenate(column) for column in zip(*ended, strict=True))
    return constants, converged


def _by_name(law: Chinchilla) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, np.float64) for name, value in law.constants.items()}


def _fit_or_none(fit: Callable[[Points], Fitted], table: Points) -> dict[str, Number] | None:
    try:
        return fit(table).constants
    except ValueError:
        return None


def _percentiles(values: np.ndarray, level: int | float) -> np.ndarray:
    """(2, …) ends of the interval over the last axis."""
    checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    ends: np.ndarray = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return ends
