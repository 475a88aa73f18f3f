"""Budget forcing: the length of a chain of thought before the answer, as a processor of logits."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count
from gendiff.language.processors import Context, Ids


@records.record
class BudgetForcing:
    """Built by `budget_forcing`.

    Attributes:
        end: () the token that ends thinking.
        least: () or (b,) tokens of thinking before which it does not come.
        most: () or (b,) tokens of thinking after which it must come.
        wait: (w,) tokens that come in its place where it is too early.
    """

    end: Count
    least: jax.Array
    most: jax.Array
    wait: np.ndarray

    def __call__(self, logits: Float[Array, "b v"], context: Context) -> Float[Array, "b v"]:
        """Change the logits."""
        ids = jnp.arange(logits.shape[1], dtype=jnp.int32)[None]
        is_end = ids == self.end
        thought = context.generated
        thinking = ~_ended(context, self.end)
        early, late = (thought < self.least) & thinking, (thought >= self.most) & thinking
        longer = jnp.where(early[:, None], self._longer(logits, is_end, ids, context), logits)
        return jnp.where((late & ~early)[:, None], jnp.where(is_end, 0.0, -jnp.inf).astype(logits.dtype), longer)

    def _longer(self, logits: Array, is_end: Array, ids: Array, context: Context) -> Array:
        """Without the end; its probability goes to the first token of `wait`, behind which the others of it follow."""
        without = jnp.where(is_end, -jnp.inf, logits)
        if not self.wait.shape[0]:
            return without
        moved = jnp.logaddexp(logits, jnp.sum(jnp.where(is_end, logits, 0), 1, keepdims=True))
        result = jnp.where(ids == self.wait[0], moved, without)
        for position in range(1, self.wait.shape[0]):
            started = _ends_with(context, self.wait[:position])
            forced = jnp.where(ids == self.wait[position], 0.0, -jnp.inf).astype(logits.dtype)
            result = jnp.where(started[:, None], forced, result)
        return result


def budget_forcing(end: Count, *, least: Count = 0, most: Count, wait: Ids = ()) -> BudgetForcing:
    """Make a model think at least so many tokens before it ends its thinking, and at most so many.

    Thinking begins with the first generated token and ends with `end`, from which on logits stay as they are. Before
    `least` tokens the end is suppressed: its probability goes to `wait`, where there is one, so that the model reads it
    and goes on; else to all other tokens in their proportions. After `most` tokens nothing but the end is possible. The
    log-probabilities of `generate` are those of what was sampled, forced tokens included, which have 0. With
    least = most the length of thinking is a number that one sets.

    As other processors it takes data: one compile serves every budget, and each text may have its own. In a chain it
    stands before a temperature of 0, which leaves one token alone: if that were the end, nothing would be possible.

    Args:
        end: () the id of the token that ends thinking.
        least: () or (b,) >= 0.
        most: () or (b,) at least `least`.
        wait: (w,) ids, such as those of "Wait". Before `least` tokens the others follow once the first one has come,
            whoever chose it. They count as thinking.

    Raises:
        ValueError: for negative numbers, `most` below `least`, an `end` among `wait`, and `wait` of another rank.
        TypeError: for ids that are no integers.

    References:
        Muennighoff et al., 2025 (s1), section 3.1 (from memory).
    """
    checks.integer("end", end, 0)
    checks.in_range("least", least, 0.0, float("inf"))
    checks.in_range("most", most, 0.0, float("inf"))
    wait_ids = np.asarray(wait, np.int32) if np.size(wait) == 0 else np.asarray(wait)
    if wait_ids.ndim != 1:
        raise ValueError(f"wait has shape {wait_ids.shape}: (w,) ids of tokens are needed")
    checks.ids("wait", wait_ids, 2**31)
    if arrays.is_concrete(least) and arrays.is_concrete(most) and np.any(np.asarray(most) < np.asarray(least)):
        raise ValueError(f"most = {most} is below least = {least}: thinking cannot end before it may")
    if arrays.is_concrete(end) and int(end) in wait_ids.tolist():
        raise ValueError(f"wait = {wait_ids.tolist()} holds the end {int(end)}, which it replaces")
    counts = jnp.asarray(least, jnp.int32), jnp.asarray(most, jnp.int32)
    return BudgetForcing(end, *counts, wait_ids.astype(np.int32))


def _ended(context: Context, end: Count) -> Bool[Array, " b"]:
    """Whether the end stands among the generated tokens."""
    places = jnp.arange(context.tokens.shape[1], dtype=jnp.int32)[None]
    new = (places >= (context.length - context.generated)[:, None]) & (places < context.length[:, None])
    return jnp.any(new & (context.tokens == end), 1)


def _ends_with(context: Context, tokens: ArrayLike) -> Bool[Array, " b"]:
    """Whether these are the last ones that were generated."""
    count = tokens.shape[0]
    at = context.length[:, None] - count + jnp.arange(count, dtype=jnp.int32)[None]
    last = jnp.take_along_axis(context.tokens, jnp.maximum(at, 0), 1)
    return (context.generated >= count) & jnp.all(last == tokens[None], 1)
