"""Axial attention: tokens are a table, and each token attends to its row or its column only."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks


@dataclasses.dataclass(frozen=True)
class Axial:
    """A table of tokens, row by row, and the axis along which they see each other.

    Nothing is hidden by a mask: rows, or columns, become samples of their own. So r rows of c tokens cost r · c² pairs,
    or c · r², in place of (r · c)².

    Args:
        rows: their number, which divides that of the tokens.
        columns: True for attention inside each column, False for attention inside each row.

    References:
        Ho et al., 2019 (axial transformers), section 3 (from memory).
    """

    rows: int
    columns: bool = False

    def __post_init__(self) -> None:
        checks.integer("rows", self.rows, 1)

    def visible_tokens(self, tokens: int) -> int:
        """Return how many tokens each token sees."""
        return self.rows if self.columns else tokens // self.rows

    def split(self, x: Float[Array, "b s heads size"]) -> Float[Array, "samples seen heads size"]:
        """Return rows, or columns, as samples of their own.

        Raises:
            ValueError: for rows that do not divide the tokens.
        """
        b, s, *rest = x.shape
        if s % self.rows:
            raise ValueError(
                f"{s} tokens are no table of {self.rows} rows: their number must be divisible by that of the rows"
            )
        if not self.columns:
            return x.reshape(b * self.rows, -1, *rest)
        return jnp.swapaxes(x.reshape(b, self.rows, -1, *rest), 1, 2).reshape(-1, self.rows, *rest)

    def together(self, x: Float[Array, "samples seen heads size"], batch: int) -> Float[Array, "b s heads size"]:
        """Invert `split`, for the number of samples that there were."""
        rest = x.shape[2:]
        if self.columns:
            x = jnp.swapaxes(x.reshape(batch, -1, self.rows, *rest), 1, 2)
        return x.reshape(batch, -1, *rest)
