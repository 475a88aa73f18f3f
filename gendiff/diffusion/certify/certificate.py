"""Certificates of samplers, without training: error per evaluations, order with an interval, and cases that are exact.

    print(certify.certify(MySampler(), certify.Method("midpoint", order=2)))

Everything is measured in float64 between two fixed levels with sigma > 0, on grids even in log-SNR, against an oracle
whose exact flow or law is known. There are three errors:

- flow: of a deterministic sampler, the distance of end points from the exact probability flow;
- weak: of a stochastic sampler, the Wasserstein-2 distance of its law from the exact one on Gaussian data, by
  `gaussian_law`, not by draws;
- strong: of a stochastic sampler, the distance between its end points with n and 2n steps of the same keys. It falls
  for samplers that follow one Brownian path per sample, to the exact end points if the weak error falls too, and for no
  others.

The fit starts at little noise. So the stated order is checked once more above it, from sigma/alpha = 20, and the exact
cases once more from the noisiest level of the schedule, where alpha may be 0.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gendiff.core import arrays, checks, records
from gendiff.core.types import Count
from gendiff.diffusion import grids, sampling, schedules
from gendiff.diffusion.certify import convergence_order, gaussian_law, oracles
from gendiff.diffusion.certify.convergence_order import Fit
from gendiff.diffusion.certify.oracles import Mixture, Oracle
from gendiff.diffusion.samplers.catalogue import (
    FEW_STEPS,
    LAST_STEP,
    METHODS,
    POINT_MASS,
    PURE_NOISE,
    TIME,
    Method,
    Order,
)
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level, Prediction

STEPS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
WITHIN = 0.15
"""How far a fitted order may lie from the stated one."""
ROUNDING = 1e-9
"""What still counts as exact."""
WIDEST = 20.0
"""The sigma / alpha from which the order is checked again. Schedules without it start at their noisiest level."""

Laws = Callable[[np.ndarray, Level, int], np.ndarray]
"""(stds (n,), levels, steps) -> distances (n,) of a sampler's laws from the exact ones."""

_STDS = np.geomspace(0.25, 1.0, 8)  # of the Gaussians whose laws are propagated
_MEAN = 0.5


@dataclasses.dataclass(frozen=True)
class Curve:
    """One kind of error against the number of steps.

    Args:
        kind: "flow", "weak" or "strong".
        stated: the order that the method's theory states for it; None where it states none.
        steps: numbers of steps, each twice the one before.
        evaluations: of the network, for each number of steps.
        errors: root mean square error at each number of steps.
        fit: the fitted order.
    """

    kind: str
    stated: Order | None
    steps: tuple[int, ...]
    evaluations: tuple[int, ...]
    errors: tuple[float, ...]
    fit: Fit

    @property
    def orders(self) -> tuple[float, ...]:
        """Between each number of steps and the next."""
        return convergence_order.between(self.steps, self.errors)

    @property
    def agrees(self) -> bool | None:
        """Whether the fitted order lies within `WITHIN` of the stated one; None where nothing is stated or fitted."""
        if self.stated is None or self.fit.order is None:
            return None
        return abs(self.fit.order - self.stated) <= WITHIN


@dataclasses.dataclass(frozen=True)
class Case:
    """A case that should be exact: the measured error, and whether the method's theory says that it vanishes."""

    name: str
    error: float
    stated: bool

    @property
    def holds(self) -> bool:
        """Whether the error is rounding."""
        return self.error <= ROUNDING


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What was measured of one sampler. `dataclasses.asdict` makes it JSON.

    Args:
        method: the theory that the sampler is held to, without the function that makes it.
        stochastic: whether another seed changes its end points.
        curves: the errors that were measured.
        cases: the exact cases that were measured.
        shortfall: by how much the order from sigma/alpha = 20 to `sigma_max`, between the two finest numbers of steps,
            stays below the stated one; at most 0 where the error is rounding, None where no flow or weak order is
            stated, and where `sigma_max` lies above.
        setting: oracle, levels, start points and seed, in words.
    """

    method: Method
    stochastic: bool
    curves: tuple[Curve, ...]
    cases: tuple[Case, ...]
    shortfall: float | None
    setting: str

    @property
    def passes(self) -> bool:
        """Whether all stated orders agree, also from much noise, and all cases are exact; true if none is stated."""
        agreeing = {curve.kind for curve in self.curves if curve.agrees}
        holding = {case.name for case in self.cases if case.holds}
        wide = self.shortfall is None or self.shortfall <= WITHIN
        return wide and set(self.method.stated) <= agreeing and set(self.method.exact) <= holding

    def curve(self, kind: str) -> Curve:
        """The curve of that kind.

        Raises:
            ValueError: if it was not measured.
        """
        checks.choice("kind", kind, [curve.kind for curve in self.curves])
        return next(curve for curve in self.curves if curve.kind == kind)

    def __str__(self) -> str:
        verdict = "FAIL" if not self.passes else "PASS" if self.method.stated else "nothing stated"
        lines = [f"{self.method.name} ({self.method.source}): {verdict}"]
        for curve in self.curves:
            lines += _table(curve)
        if self.shortfall is not None:
            lines.append(f"order from sigma/alpha {WIDEST:g}: {max(0.0, self.shortfall):.2f} below the stated one")
        for case in self.cases:
            verdicts = f"{'' if case.holds else ', not exact'}{'' if case.stated else ' (nothing stated)'}"
            lines.append(f"{case.name}: {case.error:.1e}{verdicts}")
        return "\n".join([*lines, self.setting])


def _table(curve: Curve) -> list[str]:
    lines = [f"{curve.kind} order {'—' if curve.stated is None else f'{curve.stated:g}'}, {curve.fit}"]
    if curve.steps:
        lines.append(f"{'steps':>7} {'evaluations':>12} {'error':>9} {'order':>6}")
    for k, (n, cost, error) in enumerate(zip(curve.steps, curve.evaluations, curve.errors, strict=True)):
        lines.append(f"{n:7d} {cost:12d} {error:9.2e}" + (f" {curve.orders[k - 1]:6.2f}" if k else ""))
    return lines


def certify(
    sampler: Sampler,
    method: Method | str | None = None,
    *,
    schedule: Schedule | None = None,
    oracle: Oracle | None = None,
    sigma_max: float = 2.0,
    sigma_min: float = 0.1,
    steps: tuple[int, ...] = STEPS,
    starts: int = 64,
    seed: int = 0,
) -> Certificate:
    """Measure a sampler against exact answers. It takes its own random numbers and start points from `seed`.

    A sampler counts as deterministic if another seed changes nothing. Its evaluations are those it states, for a last
    step to sigma = 0.

    Args:
        sampler: the sampler. One that was made for a schedule must be given that schedule.
        method: the theory to hold it to, a `Method` or the name of one in the catalogue of samplers. Without it nothing
            is stated and all is measured.
        schedule: the noise path, default `schedules.flow()`.
        oracle: the data of the flow and strong errors, default three Gaussians in the plane, of spread about 1. Weak
            errors are taken over eight Gaussians of std 0.25 … 1 instead.
        sigma_max: where the fit starts, as a ratio sigma / alpha. At the default the noise is as wide as the data: from
            there the flow bends at once, and a start-up of low order shows.
        sigma_min: where all grids end, as such a ratio.
        steps: numbers of steps, each twice the one before.
        starts: start points, >= 2, over which intervals are taken. Strong errors are random, so that 256 are better
            there.
        seed: of start points and noise.

    Raises:
        ValueError: for an unknown method, and for numbers of steps that do not double or are none.
    """
    if isinstance(method, str):
        checks.choice("method", method, METHODS)
    method = Method("unnamed") if method is None else METHODS[method] if isinstance(method, str) else method
    schedule = schedules.flow() if schedule is None else schedule
    checks.integer("starts", starts, 2)
    if not steps:
        raise ValueError(f"steps = {steps!r}: name numbers of steps that double, such as (8, 16, 32, 64, 128)")
    with jax.enable_x64(True):
        oracle = _three_gaussians() if oracle is None else oracle
        task = _Task(sampler, schedule, oracle, sigma_min, sigma_max, tuple(steps), starts, seed)
        few = task.levels(steps[0])
        one, other = (task.end(oracle, few, steps[0], seed=s) for s in (seed, seed + 1))
        stochastic = not np.array_equal(one, other, equal_nan=True)
        laws = functools.partial(_law_distance, sampler) if stochastic else None
        curves = (_weak(task, method, laws), _strong(task, method)) if laws else (_flow(task, method),)
        cases, shortfall = _cases(task, method, laws), _shortfall(task, method, laws)
    setting = (
        f"{oracle.__class__.__name__}, sigma/alpha {sigma_max:g}…{sigma_min:g} even in log-SNR, {starts} start "
        f"points, seed {seed}"
    )
    return Certificate(dataclasses.replace(method, make=None), stochastic, curves, cases, shortfall, setting)


@records.record
class Timed:
    """An oracle that is wrong by `weight` where it gets another t than the schedule's at its alpha and sigma.

    The difference counts in units of the range of t. With weight 0 it is the oracle.
    """

    oracle: Oracle
    weight: Array
    schedule: Schedule = records.static()

    def __call__(self, x: Array, level: Level) -> Prediction:
        """The prediction, with the weighted difference in t added to both forms."""
        prediction = self.oracle(x, level)
        clean, noisiest = self.schedule.clean.t, self.schedule.noisiest.t
        t = jnp.where(jnp.asarray(level.sigma) > 0, self.schedule.at_log_snr(level.log_snr).t, clean)
        shift = jnp.where(self.weight > 0, self.weight * (jnp.asarray(level.t) - t) / (noisiest - clean), 0.0)
        shift = arrays.expand(shift, x)
        return Prediction(prediction.clean + shift, prediction.noise + shift)


@dataclasses.dataclass(frozen=True)
class _Task:
    """The arguments of `certify`, and how its samples are drawn."""

    sampler: Sampler
    schedule: Schedule
    oracle: Oracle
    sigma_min: float
    sigma_max: float
    steps: tuple[int, ...]
    starts: int
    seed: int

    def levels(self, steps: int) -> Level:
        return self.padded(self.grid(steps, self.sigma_max, self.sigma_min))

    def wide(self, steps: int) -> Level:
        return self.padded(self.grid(steps, self.widest, self.sigma_max))

    @property
    def widest(self) -> float:
        return min(WIDEST, 0.999 * schedules.max_noise_ratio(self.schedule))

    def from_noisiest(self, steps: int) -> Level:
        """One step from the noisiest level, where alpha may be 0, and then that many more."""
        first = self.schedule.noisiest
        return self.padded(
            jax.tree.map(lambda a, rest: np.append(a, rest), first, self.grid(steps, self.sigma_max, self.sigma_min))
        )

    def grid(self, steps: int, sigma_max: float | None, sigma_min: float) -> Level:
        return grids.log_snr(self.schedule, steps, sigma_min=sigma_min, sigma_max=sigma_max, end="first")

    def padded(self, levels: Level) -> Level:
        """To twice the longest grid, so that all share one compile. By NumPy: JAX would compile each padding."""
        missing = 2 * max(self.steps) + 1 - len(levels)
        grid: Level = jax.tree.map(
            lambda field: jnp.asarray(np.pad(np.asarray(field, np.float64), (0, missing), mode="edge")), levels
        )
        return grid

    def start(self, oracle: Oracle, level: Level) -> Array:
        """(starts, …) points of the marginal at a level."""
        points: Array = _start(oracle, level, jnp.asarray(self.seed), self.starts)
        return points

    def end(
        self, oracle: Oracle, levels: Level, steps: int, *, seed: int | None = None, weight: float = 0.0
    ) -> np.ndarray:
        """Where the sampler goes from there."""
        seed, timed = self.seed if seed is None else seed, Timed(oracle, jnp.asarray(weight), self.schedule)
        start = self.start(oracle, levels[0])
        return np.asarray(_end(self.sampler, timed, levels, start, jnp.asarray(seed), jnp.asarray(steps)))


@functools.partial(jax.jit, static_argnames="count")
def _start(oracle: Oracle, level: Level, seed: Array, count: int) -> Array:
    return oracles.draw_noised(oracle, jax.random.key(seed), level, count).astype(np.float64)


@jax.jit
def _denoised(oracle: Oracle, x: Array, level: Level) -> Array:
    return oracle(x, level).clean


@jax.jit
def _end(sampler: Sampler, denoise: Timed, levels: Level, start: Array, seed: Array, steps: Count) -> Array:
    index = jnp.arange(len(start))
    return sampling.sample(
        jax.random.key(seed), denoise, sampler, levels, start.shape[1:], index, num_steps=steps, start=start
    )


def _flow(task: _Task, method: Method) -> Curve:
    levels = task.levels(task.steps[0])
    exact = np.asarray(task.oracle.flow(task.start(task.oracle, levels[0]), levels[0], levels[-1]))
    return _curve("flow", method.order, task, [task.end(task.oracle, task.levels(n), n) - exact for n in task.steps])


def _strong(task: _Task, method: Method) -> Curve:
    ends = [task.end(task.oracle, task.levels(n), n) for n in (*task.steps, 2 * task.steps[-1])]
    return _curve("strong", method.strong, task, [fine - coarse for coarse, fine in zip(ends, ends[1:], strict=False)])


def _weak(task: _Task, method: Method, laws: Laws) -> Curve:
    try:
        return _curve("weak", method.weak, task, [laws(_STDS, task.levels(n), n) for n in task.steps])
    except gaussian_law.NoLawError as refused:
        return Curve("weak", method.weak, (), (), (), Fit(reason=str(refused)))


def _curve(kind: str, stated: Order | None, task: _Task, distances: list[np.ndarray]) -> Curve:
    """From the distances (n, …) of each row at each number of steps."""
    squares = np.stack([np.sum(d.reshape(len(d), -1) ** 2, axis=1) for d in distances])
    steps = task.steps[: len(distances)]
    evaluations = tuple(int(task.sampler.evaluations(n)) for n in steps)
    errors = tuple(np.sqrt(np.mean(squares, axis=1)).tolist())
    return Curve(kind, stated, steps, evaluations, errors, convergence_order.fit(steps, squares))


def _law_distance(sampler: Sampler, stds: np.ndarray, levels: Level, steps: int) -> np.ndarray:
    return gaussian_law.law(sampler, stds, np.full(len(stds), _MEAN), levels, steps).distance


def _shortfall(task: _Task, method: Method, laws: Laws | None) -> float | None:
    """By how much the order from `WIDEST` stays below the stated one, between the two finest numbers of steps."""
    stated, counts = method.weak if laws else method.order, (task.steps[-1] // 2, task.steps[-1])
    if stated is None or task.widest <= task.sigma_max:
        return None
    errors = [laws(_STDS, task.wide(n), n) for n in counts] if laws else _wide_errors(task, counts)
    coarse, fine = (float(np.sqrt(np.mean(error**2))) for error in errors)
    return 0.0 if fine <= convergence_order.WINDOW[0] else stated - convergence_order.between(counts, (coarse, fine))[0]


def _wide_errors(task: _Task, counts: tuple[int, int]) -> list[np.ndarray]:
    oracle, levels = _three_gaussians(), task.wide(counts[0])
    exact = np.asarray(oracle.flow(task.start(oracle, levels[0]), levels[0], levels[-1]))
    return [task.end(oracle, task.wide(n), n) - exact for n in counts]


def _cases(task: _Task, method: Method, laws: Laws | None) -> tuple[Case, ...]:
    at = [task.schedule.at_log_snr(np.float64(-2 * math.log(ratio))) for ratio in (task.sigma_max, 1.0, task.sigma_min)]
    measured = {LAST_STEP: _last_step(task, at), FEW_STEPS: _few_steps(task), TIME: _time(task)}
    from_noisiest = [_last_step(task, [task.schedule.noisiest])] if LAST_STEP in method.exact else []
    try:
        measured[POINT_MASS] = _point_mass(task, laws, [(task.levels(n), n) for n in (1, 3)])
        if POINT_MASS in method.exact:
            from_noisiest.append(_point_mass(task, laws, [(task.from_noisiest(2), 3)]))
    except gaussian_law.NoLawError:  # as the weak error says
        pass
    if from_noisiest:
        measured[PURE_NOISE] = float(np.max(from_noisiest))
    return tuple(Case(name, error, name in method.exact) for name, error in measured.items())


def _point_mass(task: _Task, laws: Laws | None, runs: list[tuple[Level, int]]) -> float:
    """Data at one point: the largest distance of the laws, or of the end points from the flow (a line in x / alpha)."""
    if laws:
        return float(np.max([laws(np.zeros(2), levels, steps) for levels, steps in runs]))
    point, errors = _three_gaussians(spread=0.0), []
    for levels, steps in runs:
        start, clean = task.start(point, levels[0]), point.means[:1]
        exact = levels.alpha[-1] * clean + levels.sigma[-1] / levels.sigma[0] * (start - levels.alpha[0] * clean)
        errors.append(np.abs(task.end(point, levels, steps) - exact))
    return float(np.max(errors))


def _last_step(task: _Task, at: list[Level]) -> float:
    """The largest difference between one step to sigma = 0 and the denoised prediction, from each of the levels."""
    oracle, errors = _three_gaussians(), []
    for level in at:
        levels = task.padded(jax.tree.map(lambda a, b: np.array([a, b], np.float64), level, task.schedule.clean))
        exact = _denoised(oracle, task.start(oracle, levels[0]), levels[0])
        errors.append(np.abs(task.end(oracle, levels, 1) - exact))
    return float(np.max(errors))


def _few_steps(task: _Task) -> float:
    """How many entries are not finite after 1, 2 and 3 steps of the whole schedule."""
    oracle = _three_gaussians()
    ends = [task.end(oracle, task.padded(grids.trailing(task.schedule, n)), n) for n in (1, 2, 3)]
    return float(sum(np.count_nonzero(~np.isfinite(end)) for end in ends))


def _time(task: _Task) -> float:
    """The largest change of an end point with an oracle that heeds t, at little noise and on the whole schedule."""
    oracle, errors = _three_gaussians(), []
    for levels in (task.levels(3), task.padded(grids.trailing(task.schedule, 3))):
        plain, timed = (task.end(oracle, levels, 3, weight=weight) for weight in (0.0, 1.0))
        errors.append(np.abs(timed - plain))
    return float(np.max(errors))


def _three_gaussians(spread: float = 1.0) -> Mixture:
    """In the plane, or with spread 0 one point: of one structure, so that a sampler is compiled once for both."""
    means = np.array([[-1.0, 0.4], [0.8, 0.9], [0.3, -1.1]])
    means = means[:1] + spread * (means - means[:1])
    return oracles.mixture([0.3, 0.4, 0.3], means, spread * np.array([0.35, 0.5, 0.6]))
