"""Multistep exponential integrators: one stepper, and a method is its coefficients.

A step is DDIM (or its stochastic form) plus sum_j w_j (p_j - p_0) over the past predictions p_j (`exponential`). With a
corrector, the evaluation at a new level first improves the step that led there, and is then used for the next one: one
evaluation a step.

DDIM alone is taken where no history is known, and on a step from alpha = 0 or to sigma = 0, which then returns the
denoised prediction.
"""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import Count, Numeric, Scalar
from gendiff.diffusion.samplers import ancestral, exponential_integrators
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction

FORMULAS = {
    "exact": exponential_integrators.moments,
    "midpoint": exponential_integrators.midpoint,
    "published": exponential_integrators.halved,
}
STARTS = {"plain": "never", "corrected": "first"}


@records.record
class History:
    """Past predictions (m, b, …), newest first, half log-SNR (m, b), their number (b,), the last step's order (b,)."""

    predictions: Array
    positions: Array
    known: Array
    used: Array


def clean(prediction: Prediction) -> Array:
    """The prediction that the data form integrates."""
    return prediction.clean


def alpha(level: Level) -> Numeric:
    """What multiplies the integral of the data form."""
    return level.alpha


def difference(position: Float[Array, "b"], here: Float[Array, "b"]) -> Float[Array, "b"]:
    """Distances in half log-SNR itself."""
    return position - here


@records.record
class Coefficients:
    """The coefficients of a method.

    Args:
        prediction: what is integrated.
        distance: of a position from the present one, both in half log-SNR, in the variable of the polynomial.
        scale: what multiplies the integral at the end of a step.
        rule: the moments of the integral (`exponential_integrators`).
        rate: the rate of its kernel.
        change: how x moves at a fixed level, for one unit of the prediction, when only its clean part alpha · clean
            does.
    """

    prediction: Callable[[Prediction], Array] = records.static(default=clean)
    distance: Callable[[Array, Array], Array] = records.static(default=difference)
    scale: Callable[[Level], Scalar] = records.static(default=alpha)
    rule: exponential_integrators.Rule = records.static(default=exponential_integrators.moments)
    rate: float = records.static(default=1.0)
    change: Callable[[Level], Scalar] = records.static(default=alpha)


@records.record
class Multistep(Sampler):
    """A multistep method. Built by `dpm_solver_multistep`, `unipc` and `deis`.

    correct: "never", "always" (UniPC), or "first": only the first step, whose error falls from second to third order.
    eta: () noise scale of the reverse SDE, in the data form; None draws nothing.
    """

    coefficients: Coefficients
    order: int = records.static()
    correct: str = records.static(default="never")
    lower_order_final: bool = records.static(default=False)
    eta: Scalar | None = None

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """An empty history.

        A corrector looks one prediction further back, and "first" has to tell the first from later steps.
        """
        length = {"never": self.order - 1, "first": max(self.order - 1, 2), "always": self.order}[self.correct]
        count = arrays.zero_per_sample(x, jnp.int32)
        position = arrays.zero_per_sample(x, arrays.at_least_float32(x.dtype))
        predictions, positions = (
            jnp.broadcast_to(zero, (length, *zero.shape)) for zero in (jnp.zeros_like(x), position)
        )
        return State(x, History(predictions, positions, known=count, used=count))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        fresh = None if self.eta is None else noise(state.x)
        x, past = state.x, state.memory
        prediction = denoise(x, level)
        present = self.coefficients.prediction(prediction)
        here, usable = _position(level, x)
        there, ends = _position(cleaner, x)
        if self.correct != "never":  # x moves by this much; with the clean prediction held, its noise moves along
            improved = self._improved if self.correct == "always" else self._started
            change = arrays.expand(self.coefficients.change(level), x) * improved(present, here, usable, past)
            prediction = records.replace(
                prediction, noise=prediction.noise + arrays.safe_divide(change, arrays.expand(level.sigma, x))
            )
        allowed = jnp.minimum(past.known + 1, self.order)
        if self.lower_order_final:
            allowed = jnp.minimum(allowed, jnp.asarray(left + 1).astype(jnp.int32))
        used = jnp.where(usable & ends, allowed, 1).astype(jnp.int32)
        moved = exponential_integrators.first_order_step(prediction, level, cleaner, eta=self.eta, noise=fresh)
        moved += arrays.expand(self.coefficients.scale(cleaner), x) * self._extrapolated(
            present, here, there, past, used
        )
        known = jnp.where(usable, jnp.minimum(past.known + 1, len(past.positions)), 0).astype(jnp.int32)
        return State(moved, History(_pushed(present, past.predictions), _pushed(here, past.positions), known, used))

    def _extrapolated(self, present: Array, here: Array, there: Array, past: History, used: Int[Array, "b"]) -> Array:
        """sum_j w_j (p_j - p_0) over the newest `used` - 1 past predictions."""
        nodes = [self.coefficients.distance(position, here) for position in past.positions[: self.order - 1]]
        in_use = [used > j + 1 for j in range(len(nodes))]
        step = jnp.where(used > 1, self.coefficients.distance(there, here), 0)
        total = exponential_integrators.weights(nodes, in_use, self._moments(step, used - 1, len(nodes)))
        return _combined(total, past.predictions, present)

    def _improved(self, present: Array, here: Array, usable: Bool[Array, "b"], past: History) -> Array:
        """The correction of the last step: the polynomial with the present prediction, minus the extrapolation."""
        base, origin = past.predictions[0], past.positions[0]
        known = usable & (past.known > 0)
        step = jnp.where(known, self.coefficients.distance(here, origin), 0)
        older = [self.coefficients.distance(position, origin) for position in past.positions[1:]]
        in_use = [known & (past.used > j + 1) for j in range(len(older))]
        before = exponential_integrators.weights(older, in_use, self._moments(step, past.used - 1, len(older)))
        now, *after = exponential_integrators.weights(
            [step, *older], [known, *in_use], self._moments(step, past.used, len(older) + 1)
        )
        change = [b - a for a, b in zip(before, after, strict=True)]
        return _combined([now], present[None], base) + _combined(change, past.predictions[1:], base)

    def _started(self, present: Array, here: Array, usable: Bool[Array, "b"], past: History) -> Array:
        """The correction of a first step by DDIM: the line through the clean predictions at its two ends."""
        known = usable & (past.known == 1)
        step = jnp.where(known, here - past.positions[0], 0)
        moments = exponential_integrators.moments(step, exponential_integrators.rate(self.eta, step), past.known, 1)
        return _combined(exponential_integrators.weights([step], [known], moments), present[None], past.predictions[0])

    def _moments(self, step: Array, others: Array, count: int) -> list[Array]:
        rate = self.coefficients.rate if self.eta is None else exponential_integrators.rate(self.eta, step)
        return self.coefficients.rule(step, rate, others, count)


def dpm_solver_multistep(
    order: int = 2,
    *,
    eta: Scalar = 0.0,
    formula: str | None = None,
    start: str | None = None,
    lower_order_final: bool = False,
) -> Multistep:
    """DPM-Solver++(2M), (3M) and their SDE forms. One evaluation per step.

    A step to sigma = 0 has order 1 in any case.

    Args:
        order: 1 (DDIM), 2 or 3, the number of predictions in use once there is history.
        eta: () >= 0, data under jit; 0 follows the probability flow, 1 the reverse SDE, others the SDE whose noise is
            eta times as strong: `ddim(eta)` in the limit of small steps (some libraries call eta² eta). The SDE forms
            have weak order 2 at most.
        formula: "exact" integrates the polynomial exactly, the default of order 3; "midpoint" is Alg. 2, the default of
            order 2; "published" is the third order of the usual code, whose second difference lacks a factor 2 and
            which tends to order 2.
        start: "plain" is DDIM, the default; "corrected" lets the second evaluation correct the first step, the default
            of order 3 with the exact formula, since a method of order 3 needs a start of order 2.
        lower_order_final: the k-th last step has at most order k.

    Raises:
        ValueError: for another order or start, a formula of another order, or a concrete eta that is negative.

    References:
        Lu et al., 2022b, Alg. 2 and SDE-DPM-Solver++ 2M.
    """
    checks.integer("order", order, 1, 3)
    checks.in_range("eta", eta, 0.0, math.inf, open_high=True)
    formula = ("midpoint" if order == 2 else "exact") if formula is None else formula
    checks.choice("formula", formula, FORMULAS)
    if formula != "exact" and order != (2 if formula == "midpoint" else 3):
        raise ValueError(
            f'formula = {formula!r} has order {2 if formula == "midpoint" else 3}, not {order}: use "exact"'
        )
    start = ("corrected" if order == 3 and formula == "exact" else "plain") if start is None else start
    checks.choice("start", start, STARTS)
    scale = None if ancestral.is_zero(eta) else eta
    return Multistep(Coefficients(rule=FORMULAS[formula]), order, STARTS[start], lower_order_final, scale)


def _combined(weights: Sequence[Array], predictions: Array, base: Array) -> Array:
    total = jnp.zeros_like(base)
    for weight, prediction in zip(weights, predictions, strict=False):
        total += arrays.expand(weight, base) * (prediction - base)
    return total


def _pushed(newest: Array, older: Array) -> Array:
    return jnp.concatenate([newest[None], older])[: len(older)]


def _position(level: Level, x: Array) -> tuple[Array, Array]:
    """Half log-SNR of each sample, and whether the level is neither clean nor without signal."""
    position, usable = exponential_integrators.half_log_snr(level, x)
    return jnp.broadcast_to(position, x.shape[:1]), jnp.broadcast_to(usable, x.shape[:1])
