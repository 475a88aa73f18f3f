"""The runs of a sweep: parameters, tokens, loss and operations of each run, checked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Integer

from gendiff.core import checks
from gendiff.core.types import ArrayLike

Column = ArrayLike | Sequence[int | float]
"""One number per run."""
LEAST_POINTS = 6
"""Runs that five constants are fitted to."""
DISTINCT = 3
"""How many different N, and D, tell an exponent from a floor."""


@dataclass(frozen=True, eq=False)
class Points:
    """One entry per run. `points` builds it from any numbers and checks them.

    Args:
        parameters: (n,) N.
        tokens: (n,) D.
        loss: (n,) at the end of the run.
        flops: (n,) C.
    """

    parameters: Float64[np.ndarray, "n"]
    tokens: Float64[np.ndarray, "n"]
    loss: Float64[np.ndarray, "n"]
    flops: Float64[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.parameters)

    def take(self, rows: Integer[np.ndarray, "m"]) -> "Points":
        """Take these rows; one may come several times."""
        return Points(self.parameters[rows], self.tokens[rows], self.loss[rows], self.flops[rows])

    def without_largest(self, count: int) -> "Points":
        """Leave out the `count` largest losses, as Besiroglu et al. (2024) do with 5; the order stays."""
        return self.take(self.smallest_losses(count))

    def smallest_losses(self, left_out: int) -> Integer[np.ndarray, "m"]:
        """Which rows stay without the `left_out` largest losses, in order."""
        checks.integer("count", left_out, 0, len(self) - 1)
        return np.sort(np.argsort(self.loss, kind="stable")[: len(self) - left_out])


def points(
    parameters: Column,
    tokens: Column | None = None,
    loss: Column | None = None,
    flops: Column | None = None,
    *,
    per_token: int | float = 6.0,
) -> Points:
    """Build the table of a sweep. One of `tokens` and `flops` may be left out: C = 6 N D.

    Count parameters in one way on every side: where N is without embeddings, so is the N in C.

    Args:
        parameters: (n,) > 0.
        tokens: (n,) > 0, those that the run learned from, each counted once per epoch.
        loss: (n,) > 0, on held-out data, all of one tokeniser.
        flops: (n,) > 0, of training. Where both are there, neither is computed.
        per_token: operations of training per parameter and token, > 0.

    Raises:
        TypeError: without losses, or with neither tokens nor operations.
        ValueError: for arrays of different lengths, of none, and numbers that are not finite and above 0.
    """
    if loss is None or (tokens is None and flops is None):
        raise TypeError("a sweep needs a loss per run, and its tokens or its flops: points(parameters, tokens, loss)")
    checks.in_range("per_token", per_token, 0.0, math.inf, open_low=True, open_high=True)
    sizes, losses = _column("parameters", parameters), _column("loss", loss)
    if tokens is None:
        operations = _column("flops", flops)
        checks.same_shape("parameters", sizes, "flops", operations)
        token_counts = operations / (per_token * sizes)
    else:
        token_counts = _column("tokens", tokens)
        checks.same_shape("parameters", sizes, "tokens", token_counts)
        operations = per_token * sizes * token_counts if flops is None else _column("flops", flops)
        checks.same_shape("parameters", sizes, "flops", operations)
    checks.same_shape("parameters", sizes, "loss", losses)
    return Points(sizes, token_counts, losses, operations)


def check_separable(table: Points) -> None:
    """A surface over N and D has one best fit only where both vary, each by itself.

    Args:
        table: of the sweep.

    Raises:
        ValueError: with what to train in addition.
    """
    if len(table) < LEAST_POINTS:
        raise ValueError(
            f"{len(table)} points are too few for five constants: at least {LEAST_POINTS} are needed; train more runs"
        )
    for name, values, fix in (
        ("parameters", table.parameters, "train more sizes"),
        (
            "tokens",
            table.tokens,
            "train each size for several numbers of tokens, each with its own learning-rate schedule",
        ),
    ):
        count = len(np.unique(values))
        if count < DISTINCT:
            raise ValueError(
                f"{name} has {count} different values, and an exponent beside a floor needs {DISTINCT}: {fix}"
            )
    logs = np.log([table.parameters, table.tokens])
    if 1 - abs(np.corrcoef(logs)[0, 1]) < 1e-9:
        raise ValueError(
            "tokens follow parameters exactly (one budget, or a fixed number of tokens per parameter), so N and D are "
            "confounded: train some sizes at several budgets"
        )


def _column(name: str, values: Column | None) -> Float64[np.ndarray, "n"]:
    column = np.asarray(values, np.float64)
    if column.ndim != 1 or not column.size:
        raise ValueError(f"{name} must be one number per run, got shape {column.shape}")
    wrong = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
    if wrong.size:
        raise ValueError(
            f"{name}[{wrong[0]}] = {column[wrong[0]]:g}: it must be finite and above 0; leave out runs that diverged"
        )
    return column
