"""The objective of approach 3 with its exact gradient and Hessian, and a damped Newton method for many fits at once.

In the objective, Σ Huber_δ(log-sum-exp(a - α ln N, b - β ln D, e) - ln L), δ is small beside the noise of real sweeps.
It is then nearly a sum of absolute values, its curvature comes from the few points within δ of the surface, and a
quasi-Newton method at its usual tolerance stops long before the minimum. Newton's method with the exact Hessian, begun
at a larger δ, takes some tens of steps. Each lane is one fit with its own start, losses and weights, so that a
bootstrap is one call: SciPy's minimisers take one at a time, which is some fifty times slower.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from gendiff.scaling.fits.data_points import Points
from gendiff.scaling.laws import Chinchilla

WIDER = (100.0, 30.0, 10.0, 3.0)
"""Multiples of δ that are descended first."""
STEPS_BEFORE = 15
STEPS = 200
LONGEST_STEP = 1.0
"""In any of the five numbers; logs are centred, so that 1 is large."""
SMALL = 1e-8
"""Gradient, as a share of the largest that is possible, below which a fit has converged."""
DAMPING = (1e-14, 1e8)
LEAST_FLOOR = 1e-9
"""In place of a floor of 0, which has no log."""

Lanes = Float64[np.ndarray, "#m n"]
Constants = Float64[np.ndarray, "m 5"]
"""(a, b, e, α, β) of each lane, with a and b at the mean of ln N and ln D."""


@dataclass(frozen=True, eq=False)
class Descended:
    """The constants of each lane, and the shape of the objective there.

    Args:
        constants: (m, 5).
        value: (m,) of the objective.
        gradient: (m, 5).
        hessian: (m, 5, 5).
    """

    constants: Constants
    value: Float64[np.ndarray, "m"]
    gradient: Float64[np.ndarray, "m 5"]
    hessian: Float64[np.ndarray, "m 5 5"]

    @property
    def gradient_norm(self) -> Float64[np.ndarray, "m"]:
        """Largest entry of each gradient."""
        return np.abs(self.gradient).max(-1)

    def at(self, rows: np.ndarray) -> "Descended":
        """Some of the lanes."""
        return Descended(self.constants[rows], self.value[rows], self.gradient[rows], self.hessian[rows])

    def put(self, rows: np.ndarray, other: "Descended") -> None:
        """Overwrite some of the lanes."""
        self.constants[rows], self.value[rows] = other.constants, other.value
        self.gradient[rows], self.hessian[rows] = other.gradient, other.hessian


@dataclass(frozen=True, eq=False)
class Objective:
    """The objective of m lanes over n points.

    Args:
        size: (n,) ln N, centred.
        tokens: (n,) ln D, centred.
        centre: means of ln N and of ln D.
        losses: (m, n) or (1, n) ln L.
        weights: (m, n) or (1, n), how often each point counts.
        delta: where the Huber loss turns from a square into a line, in ln L; inf is least squares.
    """

    size: Float64[np.ndarray, "n"]
    tokens: Float64[np.ndarray, "n"]
    centre: tuple[float, float]
    losses: Lanes
    weights: Lanes
    delta: float

    def constants_of(self, law: Chinchilla) -> Constants:
        """Five numbers per law."""
        alpha, beta = np.atleast_1d(law.alpha), np.atleast_1d(law.beta)
        logs = [
            np.log(np.atleast_1d(value))
            for value in (law.of_parameters, law.of_tokens, np.maximum(law.floor, LEAST_FLOOR))
        ]
        return np.stack(
            (logs[0] - alpha * self.centre[0], logs[1] - beta * self.centre[1], logs[2], alpha, beta), axis=-1
        )

    def law(self, constants: Float64[np.ndarray, "*lanes 5"]) -> Chinchilla:
        """The law of one lane, or one law with arrays of constants.

        Raises:
            ValueError: where an exponent is not above 0.
        """
        a, b, e, alpha, beta = np.moveaxis(constants, -1, 0)
        return Chinchilla(np.exp(e), np.exp(a + alpha * self.centre[0]), np.exp(b + beta * self.centre[1]), alpha, beta)

    def values(self, constants: Constants) -> Float64[np.ndarray, "m"]:
        """The objective alone."""
        residual = self._shares(constants)[0]
        slope = np.clip(residual, -self.delta, self.delta)
        values: np.ndarray = (self.weights * slope * (residual - slope / 2)).sum(-1)
        return values

    def evaluate(self, constants: Constants) -> Descended:
        """The objective with its derivatives."""
        residual, *shares = self._shares(constants)
        of_size, of_tokens, _ = shares
        slope = np.clip(residual, -self.delta, self.delta)
        pull = self.weights * slope
        jacobian = np.stack((*shares, -self.size * of_size, -self.tokens * of_tokens), axis=1)  # (m, 5, n)
        gradient = (jacobian @ pull[:, :, None])[:, :, 0]
        square = self.weights * (np.abs(residual) <= self.delta) - pull
        hessian = (jacobian * square[:, None, :]) @ jacobian.swapaxes(1, 2)
        for row, column in ((0, 0), (1, 1), (2, 2), (0, 3), (1, 4)):  # of the exponents within the log-sum-exp
            bend = gradient[:, max(row, column)]
            hessian[:, row, column] += bend
            if row != column:
                hessian[:, column, row] += bend
        hessian[:, 3, 3] += (pull * of_size * self.size**2).sum(-1)
        hessian[:, 4, 4] += (pull * of_tokens * self.tokens**2).sum(-1)
        return Descended(constants, (pull * (residual - slope / 2)).sum(-1), gradient, hessian)

    def converged(self, reached: Descended) -> np.ndarray:
        """Whether each lane is at a minimum: its gradient is small, and its Hessian has positive eigenvalues only."""
        eigenvalues = np.linalg.eigvalsh(reached.hessian)
        return (reached.gradient_norm <= SMALL * self.largest_gradient) & (
            eigenvalues[:, 0] > 1e-13 * eigenvalues[:, -1]
        )

    @property
    def largest_gradient(self) -> Float64[np.ndarray, "m"]:
        """Scale of a gradient: the sum of the weights times δ."""
        return self.weights.sum(-1) * min(self.delta, 1.0)

    def lanes(self, rows: np.ndarray) -> "Objective":
        """Some of the lanes."""
        losses, weights = (each if len(each) == 1 else each[rows] for each in (self.losses, self.weights))
        return Objective(self.size, self.tokens, self.centre, losses, weights, self.delta)

    def with_delta(self, delta: float) -> "Objective":
        """The same with another δ."""
        return Objective(self.size, self.tokens, self.centre, self.losses, self.weights, delta)

    def _shares(self, constants: Constants) -> tuple[Lanes, Lanes, Lanes, Lanes]:
        """Residuals, and the shares of the three terms in the predicted loss."""
        a, b, e, alpha, beta = (constants[:, each : each + 1] for each in range(5))
        of_size, of_tokens = a - alpha * self.size, b - beta * self.tokens
        top = np.maximum(np.maximum(of_size, of_tokens), e)
        of_size, of_tokens, rest = np.exp(of_size - top), np.exp(of_tokens - top), np.exp(e - top)
        total = of_size + of_tokens + rest
        return top + np.log(total) - self.losses, of_size / total, of_tokens / total, rest / total


def objective(table: Points, delta: float, losses: Lanes | None = None, weights: Lanes | None = None) -> Objective:
    """Build the objective of a sweep.

    Args:
        table: of the sweep, n runs.
        delta: of the Huber loss, > 0.
        losses: (m, n) losses of each lane, or None for those of the table.
        weights: (m, n) of each lane, or None for ones.
    """
    size, data = np.log(table.parameters), np.log(table.tokens)
    logs = np.log(table.loss[None] if losses is None else losses)
    counts = np.ones((1, len(table))) if weights is None else weights
    return Objective(
        size - size.mean(), data - data.mean(), (float(size.mean()), float(data.mean())), logs, counts, delta
    )


def minimise(target: Objective, starts: Constants, wider: tuple[float, ...] = WIDER) -> Descended:
    """Descend from each start, by way of larger δ, to a minimum of the objective.

    Args:
        target: with as many lanes as there are starts, or with one for all.
        starts: (m, 5).
        wider: multiples of δ to descend first, the largest first.
    """
    constants = starts
    for multiple in wider if math.isfinite(target.delta) else ():
        constants = _descend(target.with_delta(multiple * target.delta), constants, STEPS_BEFORE).constants
    return _descend(target, constants, STEPS)


def _descend(target: Objective, starts: Constants, steps: int) -> Descended:
    """Newton's method per lane, with absolute eigenvalues and a damping that grows where a step does not descend."""
    reached = target.evaluate(starts.copy())
    damping = np.full(len(starts), 1e-3)
    tolerance = np.broadcast_to(1e-4 * SMALL * target.largest_gradient, damping.shape)
    moving = np.arange(len(starts))
    for _ in range(steps):
        moving = moving[(reached.gradient_norm[moving] > tolerance[moving]) & (damping[moving] < DAMPING[1])]
        if not moving.size:
            break
        now = reached.at(moving)
        trial = target.lanes(moving).evaluate(now.constants + _step(now, damping[moving]))
        # rounding hides a descent, which the gradient still shows
        level = trial.value <= now.value + 1e-13 * np.abs(now.value)
        better = (trial.value < now.value) | (level & (trial.gradient_norm < now.gradient_norm))
        reached.put(moving[better], trial.at(np.flatnonzero(better)))
        damping[moving] = np.maximum(np.where(better, damping[moving] / 10, damping[moving] * 5), DAMPING[0])
    return reached


def _step(now: Descended, damping: Float64[np.ndarray, "m"]) -> Constants:
    eigenvalues, vectors = np.linalg.eigh(now.hessian)
    sizes = np.abs(eigenvalues)
    sizes = sizes + damping[:, None] * sizes.max(-1, keepdims=True) + 1e-30
    along = (vectors.swapaxes(1, 2) @ now.gradient[:, :, None]) / sizes[:, :, None]
    step: np.ndarray = -(vectors @ along)[:, :, 0]
    longest = np.abs(step).max(-1, keepdims=True)
    step /= np.maximum(longest / LONGEST_STEP, 1.0)
    return step
