"""Laws of loss over parameters and tokens, and the best model of a budget under each.

A law answers the loss of a model with so many parameters after so many tokens. `Chinchilla` and `Kaplan` have closed
forms of their optima; the functions take any object with a method `loss` that falls with both arguments. Training costs
`per_token` operations per parameter and token, 6 as is usual. Everything is float64 NumPy, and arrays of several cases
broadcast.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from gendiff.core import checks
from gendiff.scaling.quantities import Number, not_negative, positive

HALVINGS = 48
STEP = 1e-4
"""Of central differences in the log of a size."""
LARGEST = math.log(1e100)


@runtime_checkable
class Law(Protocol):
    """A law: it has the loss of a model by its parameters and tokens."""

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """Return the loss of models with `parameters` after `tokens`; it falls with both."""
        ...


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The best model of a budget, or several.

    Args:
        parameters: N.
        tokens: D.
        loss: that the law predicts; NaN where it predicts none.
    """

    parameters: Number
    tokens: Number
    loss: Number

    @property
    def tokens_per_parameter(self) -> Number:
        """D / N."""
        return self.tokens / self.parameters


@dataclasses.dataclass(frozen=True)
class Frontier:
    """The best number of parameters at C operations: N = coefficient · C^exponent. It predicts no loss.

    Args:
        coefficient: > 0.
        exponent: a.
    """

    coefficient: Number
    exponent: Number

    def __post_init__(self) -> None:
        positive(coefficient=self.coefficient)

    @property
    def constants(self) -> dict[str, Number]:
        """The two numbers by name."""
        return {"coefficient": self.coefficient, "exponent": self.exponent}

    def optimum(self, flops: Number, per_token: Number = 6.0) -> Optimum:
        """Compute the best model of a budget; its loss is NaN."""
        positive(flops=flops, per_token=per_token)
        parameters = self.coefficient * _floats(flops) ** self.exponent
        tokens = flops / (per_token * parameters)
        return Optimum(parameters, tokens, tokens * math.nan)


@dataclasses.dataclass(frozen=True)
class Chinchilla:
    """L(N, D) = E + A / N^α + B / D^β. Each constant may be an array, as of many fits.

    Args:
        floor: E, the loss that remains, >= 0.
        of_parameters: A, > 0.
        of_tokens: B, > 0.
        alpha: α, > 0.
        beta: β, > 0.

    Raises:
        ValueError: for constants out of range.

    References:
        Hoffmann et al., 2022, Eq. 2 (the law) and Eq. 4 (the optimum), from memory.
    """

    floor: Number
    of_parameters: Number
    of_tokens: Number
    alpha: Number
    beta: Number

    def __post_init__(self) -> None:
        not_negative(floor=self.floor)
        positive(of_parameters=self.of_parameters, of_tokens=self.of_tokens, alpha=self.alpha, beta=self.beta)

    @property
    def constants(self) -> dict[str, Number]:
        """The five numbers by name, and those of the frontier that follow from them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | self.frontier().constants

    @property
    def exponent(self) -> Number:
        """Exponent a of the best number of parameters: β / (α + β)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def balance(self) -> Number:
        """Factor G of the best number of parameters: (αA / βB)^(1 / (α + β))."""
        logs = np.log(self.alpha) + np.log(self.of_parameters) - np.log(self.beta) - np.log(self.of_tokens)
        return np.exp(logs / (self.alpha + self.beta))

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """Predict the loss of models with `parameters` after `tokens`, both > 0."""
        positive(parameters=parameters, tokens=tokens)
        shrinking = (
            self.of_parameters * _floats(parameters) ** -self.alpha + self.of_tokens * _floats(tokens) ** -self.beta
        )
        return self.floor + shrinking

    def frontier(self, per_token: Number = 6.0) -> Frontier:
        """Return the power law of the best number of parameters by operations."""
        positive(per_token=per_token)
        return Frontier(self.balance * _floats(per_token) ** -self.exponent, self.exponent)

    def optimum(self, flops: Number, per_token: Number = 6.0) -> Optimum:
        """Compute the best model of a budget: N = G (C / 6)^a, D = (C / 6)^(1 - a) / G.

        Args:
            flops: C, > 0.
            per_token: operations of training per parameter and token, > 0.
        """
        positive(flops=flops, per_token=per_token)
        product = _floats(flops) / per_token
        parameters = self.balance * product**self.exponent
        tokens = product ** (1 - self.exponent) / self.balance
        return Optimum(parameters, tokens, self.loss(parameters, tokens))

    def tokens_per_parameter(self, parameters: Number) -> Number:
        """Compute D / N of the budget whose best model has so many parameters."""
        positive(parameters=parameters)
        size = _floats(parameters)
        ratio: Number = (size / self.balance) ** (1 / self.exponent) / size**2
        return ratio

    def tokens_for(self, parameters: Number, loss: Number) -> Number:
        """Compute after how many tokens a model reaches a loss; inf where it never does."""
        positive(parameters=parameters, loss=loss)
        left = _floats(loss - self.floor - self.of_parameters * _floats(parameters) ** -self.alpha)
        reached = np.where(left > 0, left, np.nan)
        return np.where(left > 0, (self.of_tokens / reached) ** (1 / _floats(self.beta)), np.inf)[()]


@dataclasses.dataclass(frozen=True)
class Kaplan:
    """L(N, D) = ((N_c / N)^(α_N / α_D) + D_c / D)^α_D, which has no floor.

    Args:
        parameters_scale: N_c, > 0, in parameters without embeddings.
        tokens_scale: D_c, > 0.
        of_parameters: α_N, > 0.
        of_tokens: α_D, > 0.

    Raises:
        ValueError: for constants out of range.

    References:
        Kaplan et al., 2020, Eq. 1.5.
    """

    parameters_scale: Number
    tokens_scale: Number
    of_parameters: Number
    of_tokens: Number

    def __post_init__(self) -> None:
        positive(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @property
    def exponent(self) -> Number:
        """Exponent of the best number of parameters: α_D / (α_N + α_D).

        The paper's 0.73 is another number: it comes from runs that stop early, each at its own number of steps.
        """
        return self._inner.exponent

    def loss(self, parameters: Number, tokens: Number) -> Number:
        """Predict the loss of models with `parameters` after `tokens`, both > 0."""
        return self._inner.loss(parameters, tokens) ** self.of_tokens

    def optimum(self, flops: Number, per_token: Number = 6.0) -> Optimum:
        """Compute the best model of a budget in closed form: the law's bracket is a `Chinchilla` law with β = 1."""
        best = self._inner.optimum(flops, per_token)
        return dataclasses.replace(best, loss=best.loss**self.of_tokens)

    def tokens_per_parameter(self, parameters: Number) -> Number:
        """Compute D / N of the budget whose best model has so many parameters."""
        return self._inner.tokens_per_parameter(parameters)

    def tokens_for(self, parameters: Number, loss: Number) -> Number:
        """Compute after how many tokens a model reaches a loss; inf where it never does."""
        positive(loss=loss)
        return self._inner.tokens_for(parameters, _floats(loss) ** (1 / self.of_tokens))

    @property
    def _inner(self) -> Chinchilla:
        ratio = self.of_parameters / self.of_tokens
        return Chinchilla(0.0, _floats(self.parameters_scale) ** ratio, self.tokens_scale, ratio, 1.0)


@dataclasses.dataclass(frozen=True)
class Overtraining:
    """A model's cost beside the best ones.

    Args:
        flops_ratio: its training over the cheapest training that reaches its loss, >= 1.
        parameters_ratio: parameters of that cheapest training over its own: how many times cheaper it is to serve.
        loss_gap: its loss above the least at its training operations, >= 0.
        tokens_per_parameter: D / N of its training.
    """

    flops_ratio: Number
    parameters_ratio: Number
    loss_gap: Number
    tokens_per_parameter: Number


def compute_optimal(law: Law, flops: Number, per_token: Number = 6.0) -> Optimum:
    """Find the model of least loss among those whose training takes so many operations.

    Args:
        law: any. `Chinchilla` and `Kaplan` answer by their closed forms.
        flops: C, above `per_token`, so that there is room for one parameter and one token.
        per_token: operations of training per parameter and token, > 0.

    Raises:
        ValueError: for budgets out of range.
    """
    positive(per_token=per_token)
    if isinstance(law, Chinchilla | Kaplan):
        return law.optimum(flops, per_token)
    checks.in_range("flops / per_token", _floats(flops) / per_token, 1.0, math.inf, open_low=True)
    total = np.log(_floats(flops) / per_token)
    parameters = np.exp(
        _minimum(lambda log_n: law.loss(np.exp(log_n), np.exp(total - log_n)), np.zeros_like(total), total)
    )
    tokens = flops / (per_token * parameters)
    return Optimum(parameters, tokens, law.loss(parameters, tokens))


def tokens_for(law: Law, parameters: Number, loss: Number) -> Number:
    """Find after how many tokens a model reaches a loss; inf where it never does.

    Args:
        law: any. `Chinchilla` and `Kaplan` answer by their closed forms, and others at least 1.
        parameters: of the model, > 0.
        loss: > 0.
    """
    if isinstance(law, Chinchilla | Kaplan):
        return law.tokens_for(parameters, loss)
    positive(parameters=parameters, loss=loss)
    shape = np.broadcast_shapes(np.shape(parameters), np.shape(loss))
    logs = _root(lambda log_d: loss - law.loss(parameters, np.exp(log_d)), np.zeros(shape), np.full(shape, LARGEST))
    return np.where(law.loss(parameters, math.exp(LARGEST)) < loss, np.exp(logs), np.inf)[()]


def inference_aware(
    law: Law, parameters: Number, tokens: Number, served_tokens: Number, per_token: Number = 6.0
) -> Optimum:
    """Find the model as good as a given one for which training and serving together cost least.

    Among all models with the loss of (parameters, tokens), it has the least
    `per_token` · N · D + 2 · N · served_tokens. The more tokens are served, the smaller it is and the longer it is
    trained.

    Args:
        law: any.
        parameters: of the given model, > 0.
        tokens: of its training, > 0.
        served_tokens: over the life of the model, read and written, >= 0. With 0 it is the cheapest training to this
            loss.
        per_token: operations of training per parameter and token, > 0.

    Raises:
        ValueError: for numbers out of range.

    References:
        Sardana & Frankle, 2023, Eq. 2 (from memory).
    """
    positive(parameters=parameters, tokens=tokens, per_token=per_token)
    not_negative(served_tokens=served_tokens)
    shape = np.broadcast_shapes(np.shape(parameters), np.shape(tokens), np.shape(served_tokens))
    loss = np.broadcast_to(law.loss(parameters, tokens), shape)

    def log_cost(log_n: Number) -> Number:
        return log_n + np.log(per_token * tokens_for(law, np.exp(log_n), loss) + 2 * served_tokens)

    middle = np.broadcast_to(np.log(_floats(parameters)), shape)
    best = np.exp(_minimum(log_cost, middle - 30, middle + 30))
    return Optimum(best, tokens_for(law, best, loss), loss[()])


def tokens_per_parameter(law: Law, parameters: Number) -> Number:
    """Find D / N of the budget whose best model has so many parameters.

    Args:
        law: any. `Chinchilla` and `Kaplan` answer by their closed forms.
        parameters: N, > 0.
    """
    if isinstance(law, Chinchilla | Kaplan):
        return law.tokens_per_parameter(parameters)
    positive(parameters=parameters)
    size = np.log(_floats(parameters))

    def gain(log_d: Number) -> Number:
        """Loss saved by a larger model at equal operations: below 0 where there are too few tokens."""
        return law.loss(np.exp(size - STEP), np.exp(log_d + STEP)) - law.loss(np.exp(size + STEP), np.exp(log_d - STEP))

    return np.exp(_root(gain, np.zeros_like(size), np.full_like(size, LARGEST)) - size)


def overtraining(law: Law, parameters: Number, tokens: Number, per_token: Number = 6.0) -> Overtraining:
    """Compare models with the best ones of equal loss and of equal operations.

    Args:
        law: any.
        parameters: N, > 0.
        tokens: D, > 0.
        per_token: operations of training per parameter and token, > 0.
    """
    flops = per_token * _floats(parameters) * tokens
    cheapest = inference_aware(law, parameters, tokens, 0.0, per_token)
    gap = law.loss(parameters, tokens) - compute_optimal(law, flops, per_token).loss
    ratio = flops / (per_token * cheapest.parameters * cheapest.tokens)
    return Overtraining(ratio, cheapest.parameters / parameters, gap, _floats(tokens) / parameters)


def _floats(value: Number) -> np.ndarray:
    return np.asarray(value, np.float64)


def _root(rising: Callable[[Number], Number], low: Number, high: Number) -> Number:
    """The root of each entry of an increasing function between two bounds. NaN counts as below 0."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = np.greater(rising(middle), 0)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _minimum(cost: Callable[[Number], Number], low: Number, high: Number) -> Number:
    """The minimiser of each entry of a function with one minimum. The function may be inf on the left."""

    def slope(x: Number) -> Number:
        with np.errstate(invalid="ignore"):  # inf - inf
            return cost(x + STEP) - cost(x - STEP)

    return _root(slope, low, high)
