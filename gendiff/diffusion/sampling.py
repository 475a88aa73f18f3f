"""Samplers as records of functions, and the only loop that drives them.

Sample i of a call is a function of (denoiser, key, index[i]): its key is k = fold_in(key, index[i]), its x_T is sigma_0 times noise from
fold_in(k, 0), and step j draws from fold_in(k, j + 1). Batch, order, padding, chunks and devices do not enter.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Keys, Scalar
from gendiff.diffusion.types import Denoiser, Level, Prediction

Samples = TypeVar("Samples")


@records.record
class State:
    """What a sampler carries from step to step: x (b, …), and whatever it remembers."""

    x: Any
    memory: Any = ()


def start(keys: Keys, x: Array) -> State:
    """A state without memory: the `init` of every single-step sampler."""
    return State(x)


def one_each(steps: int) -> int:
    """One evaluation of the network a step."""
    return steps


@records.record
class Sampler:
    """init(keys, x) -> State; step(keys, denoise, state, level, cleaner, left) -> State; evaluations(steps) -> network evaluations.

    `keys` (b,) are fresh at every step, `left` counts the intervals still to come. A step that holds numbers is a `trees.record`, so
    that they stay data and equal samplers compare equal.
    """

    init: Callable[[Keys, Array], State]
    step: Callable[[Keys, Denoiser, State, Level, Level, Count], State]
    evaluations: Callable[[int], int] = records.static(default=one_each)


def sample(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    shape: tuple[int, ...],
    index: Int[ArrayLike, "b"],
    *,
    num_steps: Count | None = None,
    start: Shaped[ArrayLike, "..."] | None = None,
    temperature: Scalar = 1.0,
    trajectory: bool = False,
) -> Float[Array, "..."]:
    """Draw samples (b, *shape), one for each entry of `index`, along `levels` (t + 1,). Call it under `jit`: it compiles anew otherwise.

    key: one typed key. index: (b,) integers 0 … 2**32 - 1 that name the samples; conditions made by `from_network` align with it.
    num_steps: how many intervals to run, 1 … t (default t). An int is a `scan`: reverse-mode differentiable. A traced integer is a
    `while_loop`: one compile for every count, not differentiable, and under vmap it costs the largest count.
    start: (b, *shape) in place of x_T = sigma_0 · noise; its dtype is the solver's (default: that of the levels).
    temperature: > 0, multiplies the noise of x_T. Deterministic samplers of few steps contract: DDIM in 50 ends Gaussian data at about
    0.97 of its standard deviation, which a temperature of 1.03 restores, as the flow of a Gaussian is linear.
    trajectory: answer (t + 1, b, *shape) instead, the state at each level; entries after `num_steps` repeat the last state.

    Raises TypeError for a legacy or missing key and for a denoiser whose output has another shape or dtype than x (before the loop),
    ValueError for a batch of keys, a concrete negative index, step counts outside 1 … t, a temperature that is not positive or comes with
    a `start`, or shapes that do not agree.
    """
    checks.one_key("key", key)
    steps = steps_of(levels, num_steps)
    index = _checked_index(index)
    count = index.shape[0]
    if start is not None:
        checks.floating("start", start)
        if start.shape != (count, *shape):
            raise ValueError(f"start has shape {start.shape}, but index and shape ask for {(count, *shape)}")
        if not arrays.is_concrete(temperature) or np.any(np.asarray(temperature) != 1.0):
            raise ValueError("temperature is of the noise that start replaces: scale start itself")
    checks.in_range("temperature", temperature, 0.0, math.inf, open_low=True, open_high=True)
    levels = jax.tree.map(jnp.asarray, levels)

    keys = keys_of(key, index)
    if start is None:
        noise = first_noise(keys, shape, levels.sigma.dtype)
        x = jnp.asarray(temperature, noise.dtype) * levels.sigma[0] * noise
    else:
        x = jnp.asarray(start)
    _check_output(denoise, x, levels)
    return _drive(keys, denoise, sampler, levels, steps, x, trajectory)


def in_chunks(draw: Callable[..., Samples], size: int) -> Callable[..., Samples]:
    """The same draw, run `size` samples at a time, for draws that do not fit into memory at once.

    The result does not depend on the size, beyond rounding. A last chunk that is not full repeats its last sample, and the copies are
    left out of the result. The chunks run one after the other inside one `jax.lax.map`, so the draw is compiled once.

    Example: `in_chunks(lambda index, label: sample(key, given.with_condition(label), …, index), 64)(index, labels)`.

    Args:
        draw: a function `draw(index, *aligned)` that returns an array (b, …), or a pytree of such arrays. A trajectory
            (t + 1, b, …) needs its first two axes swapped: `jnp.moveaxis(trajectory, 1, 0)`.
        size: how many samples a chunk holds, >= 1.

    Returns:
        A function of (index, *aligned). `index` is (b,) integers. Each of `aligned` is a pytree of arrays (b, …), such as labels, starts
        or guidance scales: whatever belongs to a sample has to be passed here, as `draw` sees the rows of one chunk only.

    Raises:
        TypeError or ValueError: for a size that is no integer >= 1, and for arrays whose first axis is not that of `index`.
    """
    checks.integer("size", size, 1)

    def draw_in_chunks(index: Int[ArrayLike, "b"], *aligned: Any) -> Samples:
        given = (_checked_index(index), *jax.tree.map(jnp.asarray, aligned))
        count = given[0].shape[0]
        for leaf in jax.tree.leaves(given):
            if leaf.shape[:1] != (count,):
                raise ValueError(f"an array of shape {leaf.shape} does not align with {count} samples: its first axis must be theirs")
        if count <= size:
            return draw(*given)
        chunks = -(-count // size)
        rows = jnp.minimum(jnp.arange(chunks * size), count - 1).reshape(chunks, size)
        drawn = jax.lax.map(lambda rows: draw(*jax.tree.map(lambda leaf: leaf[rows], given)), rows)
        return jax.tree.map(lambda leaf: leaf.reshape(chunks * size, *leaf.shape[2:])[:count], drawn)

    return draw_in_chunks


def keys_of(key: jax.Array, index: Int[ArrayLike, "b"]) -> Keys:
    """The key of each sample (b,): fold_in(key, index[i]). Raises as `sample` does for what is no key or no index."""
    checks.one_key("key", key)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, _checked_index(index))


def first_noise(keys: Keys, shape: tuple[int, ...], dtype: Any) -> Float[Array, "..."]:
    """The standard normal noise (b, *shape) of x_T, from fold_in(keys[i], 0)."""
    noise = arrays.normal(arrays.fold_in(keys, 0), jax.ShapeDtypeStruct((len(keys), *shape), dtype))
    return jax.lax.optimization_barrier(noise)  # or XLA folds sigma_0 into its last bit


def steps_of(levels: Level, num_steps: Count | None = None) -> Count:
    """How many intervals of a grid (t + 1,) to walk: all t of them, or `num_steps`, an int where it is concrete.

    Raises ValueError for what is no grid of at least 2 levels and for a count outside 1 … t, TypeError for one that is no integer.
    """
    if len(levels.shape) != 1 or levels.shape[0] < 2:
        raise ValueError(f"levels must be a grid of shape (steps + 1,) with at least 2 entries, got shape {levels.shape}")
    if num_steps is None:
        return levels.shape[0] - 1
    checks.integer("num_steps", num_steps, 1, levels.shape[0] - 1)
    return int(num_steps) if arrays.is_concrete(num_steps) else num_steps


def _checked_index(index: ArrayLike) -> Array:
    if index.ndim != 1:
        raise ValueError(f"index must have one axis, an integer for each sample, got shape {index.shape}")
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(f"index must hold integers, got {index.dtype}")
    checks.in_range("index", index, 0.0, 2.0**32 - 1)  # a negative one would be the alias of a large one
    return jnp.asarray(index)


def _check_output(denoise: Denoiser, x: Array, levels: Level) -> None:
    answer = jax.eval_shape(denoise, x, levels[0])
    if not isinstance(answer, Prediction):
        raise TypeError(f"a denoiser answers a Prediction, got {type(answer).__name__}; wrap a network with denoiser.from_network")
    for name, field in (("clean", answer.clean), ("noise", answer.noise)):
        if field.shape != x.shape or field.dtype != x.dtype:
            raise TypeError(
                f"the denoiser's {name} is {field.dtype}{list(field.shape)}, but x is {x.dtype}{list(x.shape)}: they must agree"
            )


def _drive(keys: Keys, denoise: Denoiser, sampler: Sampler, levels: Level, steps: Count, x: Array, trajectory: bool) -> Array:
    def advance(j: Count, state: State) -> State:
        return sampler.step(arrays.fold_in(keys, j + 1), denoise, state, levels[j], levels[j + 1], steps - 1 - j)

    first = sampler.init(keys, x)
    if isinstance(steps, int):

        def scanned(state: State, j: Array) -> tuple[State, Any]:
            state = advance(j, state)
            return state, state.x if trajectory else None

        last, states = jax.lax.scan(scanned, first, jnp.arange(steps))
        if not trajectory:
            return last.x
        tail = jnp.broadcast_to(last.x, (len(levels) - 1 - steps, *x.shape))
        return jnp.concatenate([x[None], states, tail])
    if not trajectory:
        return jax.lax.fori_loop(0, steps, advance, first).x

    def recorded(j: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state = advance(j, carry[0])
        return state, carry[1].at[j + 1].set(state.x)

    last, states = jax.lax.fori_loop(0, steps, recorded, (first, jnp.zeros((len(levels), *x.shape), x.dtype).at[0].set(x)))
    after = (jnp.arange(len(levels)) > steps).reshape((-1,) + (1,) * x.ndim)
    return jnp.where(after, last.x[None], states)
