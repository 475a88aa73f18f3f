"""Samplers as records, and the only loop that drives them.

Sample i of a call is a function of (denoiser, key, index[i]): its key is k = fold_in(key, index[i]), its x_T is sigma_0
times noise from fold_in(k, 0), and step j draws from fold_in(k, j + 1). Batch, order, padding, chunks and devices do
not enter.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Shaped

from gendiff.core import arrays, checks, records, sample_keys
from gendiff.core.types import ArrayLike, Count, Denoiser, Keys, Level, Prediction, PyTree, Scalar
from gendiff.core.types import KeyNoise as KeyNoise
from gendiff.core.types import Noise as Noise
from gendiff.core.types import Part as Part
from gendiff.core.types import Sampler as Sampler
from gendiff.core.types import State as State
from gendiff.core.types import path as path

Samples = TypeVar("Samples")
OnLevel = Callable[[jax.Array, jax.Array], None]
"""What a preview of a draw calls: (step, x)."""


@records.record
class InnerNoise:
    """The noise of a sampler inside the step of another one: its parts lie within one part of the outer step."""

    outer: Noise
    within: Part = records.static()

    def __call__(self, like: Array, part: Part = 0, /) -> Array:
        """Standard normal noise of the shape and dtype of `like` (b, …)."""
        return self.outer(like, path(self.within) + path(part))


@records.record
class Wrapper(Sampler):
    """A sampler around another one: what it does not define is the other one's."""

    sampler: Sampler

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """As of the sampler inside."""
        return self.sampler.init(x)

    def begin(self, denoise: Denoiser, x: Float[Array, "b *shape"]) -> State:
        """As of the sampler inside."""
        return self.sampler.begin(denoise, x)

    def evaluations(self, steps: int) -> int:
        """As of the sampler inside."""
        return self.sampler.evaluations(steps)

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        """As of the sampler inside."""
        return self.sampler.noise_for_step(keys, step, level, cleaner)


def has_noise_source(sampler: Sampler) -> bool:
    """Whether a sampler brings its own source of noise."""
    return type(sampler).noise_for_step is not Sampler.noise_for_step


def check_no_noise_source(name: str, sampler: Sampler) -> None:
    """TypeError for a sampler with its own source of noise, which would be lost inside another sampler."""
    if has_noise_source(sampler):
        raise TypeError(
            f"{name} = {type(sampler).__name__} brings its own source of noise: it cannot stand inside another sampler"
        )


def sample(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    shape: tuple[int, ...],
    index: Integer[ArrayLike, "b"],
    *,
    num_steps: Count | None = None,
    start: Shaped[ArrayLike, "..."] | None = None,
    temperature: Scalar = 1.0,
    trajectory: bool = False,
    on_level: OnLevel | None = None,
) -> Float[Array, "..."]:
    """Draw samples, one for each entry of `index`, along a grid of levels.

    Call it under `jit`: it compiles anew otherwise.

    Args:
        key: one typed key.
        denoise: the denoiser; conditions made by `from_network` align with `index`.
        sampler: a record such as `samplers.ddim()`.
        levels: the grid (t + 1,), from noise to clean.
        shape: of one sample.
        index: (b,) integers 0 … 2**32 - 1 that name the samples.
        num_steps: how many intervals to run, 1 … t (default t). An int is a `scan`: reverse-mode differentiable. A
            traced integer is a `while_loop`: one compile for every count, not differentiable, and under vmap it costs
            the largest count.
        start: (b, *shape) in place of x_T = sigma_0 · noise; its dtype is the solver's (default: that of the levels).
        temperature: () or (b,), > 0, multiplies the noise of x_T. Deterministic samplers of few steps contract: DDIM in
            50 ends Gaussian data at about 0.97 of its standard deviation, which a temperature of 1.03 restores, as the
            flow of a Gaussian is linear.
        trajectory: whether to return the state at each level instead of the last one only.
        on_level: is called on the host as `on_level(step, x)` after each step 1 … num_steps, with x (b, *shape),
            while the program goes on: for previews. Call `jax.effects_barrier()` to wait for the last ones. The
            samples are those without it, to rounding. Under `vmap` and on several devices it is called for each part,
            in no fixed order.

    Returns:
        The samples (b, *shape), or the trajectory (t + 1, b, *shape), whose entries after `num_steps` repeat the last
        state.

    Raises:
        TypeError: for a legacy or missing key, and for a denoiser whose output has another shape or dtype than x
            (before the loop).
        ValueError: for a batch of keys, a concrete negative index, step counts outside 1 … t, a temperature that is not
            positive or comes with a `start`, fields of `levels` of unequal length,
            concrete levels that are not finite or reversed, and shapes that do not agree.
    """
    sample_keys.check_key(key)
    _check_sampler(sampler)
    if not isinstance(trajectory, bool):
        raise TypeError(f"trajectory must be True or False, got {trajectory!r}")
    if on_level is not None and not callable(on_level):
        raise TypeError(f"on_level must be a function of (step, x), got {on_level!r}")
    steps = steps_of(levels, num_steps)
    levels = jax.tree.map(jnp.asarray, levels)
    keys, x = start_of(key, levels, shape, index, start, temperature)
    check_output(denoise, x, levels)
    return _drive(keys, denoise, sampler, levels, steps, x, trajectory, on_level)


def in_chunks(draw: Callable[..., Samples], size: int) -> Callable[..., Samples]:
    """The same draw, run `size` samples at a time, for draws that do not fit into memory at once.

    The result does not depend on the size, beyond rounding. A last chunk that is not full repeats its last sample, and
    the copies are left out of the result. The chunks run one after the other inside one `jax.lax.map`, so the draw is
    compiled once.

    Example: `in_chunks(lambda index, label: sample(key, given.with_condition(label), …, index), 64)(index, labels)`.

    Args:
        draw: a function `draw(index, *aligned)` that returns an array (b, …), or a pytree of such arrays. A trajectory
            (t + 1, b, …) needs its first two axes swapped: `jnp.moveaxis(trajectory, 1, 0)`.
        size: how many samples a chunk holds, >= 1.

    Returns:
        A function of (index, *aligned). `index` is (b,) integers. Each of `aligned` is a pytree of arrays (b, …), such
        as labels, starts or guidance scales: whatever belongs to a sample has to be passed here, as `draw` sees the
        rows of one chunk only.

    Raises:
        TypeError or ValueError: for a size that is no integer >= 1, and for arrays whose first axis is not that of
            `index`.
    """
    checks.integer("size", size, 1)

    def draw_in_chunks(index: Integer[ArrayLike, "b"], *aligned: PyTree) -> Samples:
        inputs = (sample_keys.checked_index(index), *jax.tree.map(jnp.asarray, aligned))
        count = inputs[0].shape[0]
        for leaf in jax.tree.leaves(inputs):
            if leaf.shape[:1] != (count,):
                raise ValueError(
                    f"an array of shape {leaf.shape} does not align with {count} samples: its first axis must be theirs"
                )
        if count <= size:
            return draw(*inputs)
        chunks = -(-count // size)
        rows = jnp.minimum(jnp.arange(chunks * size), count - 1).reshape(chunks, size)
        chunks_of_draws = jax.lax.map(lambda rows: draw(*jax.tree.map(lambda leaf: leaf[rows], inputs)), rows)
        samples: Samples = jax.tree.map(
            lambda leaf: leaf.reshape(chunks * size, *leaf.shape[2:])[:count], chunks_of_draws
        )
        return samples

    return draw_in_chunks


def start_of(
    key: jax.Array,
    levels: Level,
    shape: tuple[int, ...],
    index: Integer[ArrayLike, "b"],
    start: Shaped[ArrayLike, "..."] | None,
    temperature: Scalar = 1.0,
) -> tuple[Keys, Float[Array, "..."]]:
    """The samples' keys (b,), and x_T or what takes its place (b, *shape); arguments and errors as of `sample`."""
    sample_keys.check_key(key)
    index = sample_keys.checked_index(index)
    count = index.shape[0]
    if start is not None:
        checks.floating("start", start)
        if start.shape != (count, *shape):
            raise ValueError(f"start has shape {start.shape}, but index and shape ask for {(count, *shape)}")
        if not arrays.is_concrete(temperature) or np.any(np.asarray(temperature) != 1.0):
            raise ValueError("temperature is of the noise that start replaces: scale start itself")
    checks.in_range("temperature", temperature, 0.0, math.inf, open_low=True, open_high=True)
    keys = sample_keys.keys_of(key, index)
    if start is not None:
        return keys, jnp.asarray(start)
    noise = sample_keys.first_noise(keys, shape, levels.sigma.dtype)
    return keys, arrays.expand(temperature, noise) * levels.sigma[0] * noise


def steps_of(levels: Level, num_steps: Count | None = None) -> Count:
    """How many intervals of a grid (t + 1,) to walk: all t of them, or `num_steps`, an int where it is concrete.

    Raises ValueError for what is no grid of at least 2 levels, concrete levels that are not finite or reversed, and a
    count outside 1 … t, TypeError for one that is no integer.
    """
    if not isinstance(levels, Level):
        raise TypeError(
            f"levels must be a grid of levels, such as grids.trailing(schedule, 50), got {type(levels).__name__}"
        )
    shapes = [np.shape(field) for field in (levels.t, levels.alpha, levels.sigma)]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"the fields t, alpha and sigma of levels must have one shape, got {', '.join(map(str, shapes))}"
        )
    if len(levels.shape) != 1 or levels.shape[0] < 2:
        raise ValueError(
            f"levels must be a grid of shape (steps + 1,) with at least 2 entries, got shape {levels.shape}"
        )
    _check_ends(levels)
    if num_steps is None:
        return levels.shape[0] - 1
    checks.integer("num_steps", num_steps, 1, levels.shape[0] - 1)
    return int(num_steps) if arrays.is_concrete(num_steps) else num_steps


def check_output(denoise: Denoiser, x: Array, levels: Level) -> None:
    """TypeError for a denoiser whose output has another shape or dtype than x. Nothing is computed."""
    answer = jax.eval_shape(denoise, x, levels[0])
    if not isinstance(answer, Prediction):
        raise TypeError(
            f"a denoiser answers a Prediction, got {type(answer).__name__}; wrap a network with denoiser.from_network"
        )
    for name, field in (("clean", answer.clean), ("noise", answer.noise)):
        if field.shape != x.shape or field.dtype != x.dtype:
            raise TypeError(
                f"the denoiser's {name} is {field.dtype}{list(field.shape)}, but x is {x.dtype}{list(x.shape)}: they "
                "must agree"
            )


def _check_ends(levels: Level) -> None:
    """ValueError for concrete levels that are not finite, or end with more noise than they begin with."""
    if not all(map(arrays.is_concrete, (levels.t, levels.alpha, levels.sigma))):
        return
    t, alpha, sigma = (np.asarray(field, np.float64) for field in (levels.t, levels.alpha, levels.sigma))
    if np.isnan(t).any() or not np.isfinite([alpha, sigma]).all():
        raise ValueError("levels hold numbers that are not finite: make the grid anew")
    if alpha[-1] * sigma[0] < alpha[0] * sigma[-1]:  # between its ends a grid may go back, as that of RePaint does
        raise ValueError("levels must go from noise to clean, but the last one has more noise than the first")


def _check_sampler(sampler: Sampler) -> None:
    if isinstance(sampler, Sampler):
        return
    if isinstance(sampler, str):
        raise TypeError(f"sampler must be a record, got the string {sampler!r}: pass samplers.{sampler}()")
    if isinstance(sampler, type) or callable(sampler):
        raise TypeError(f"sampler must be a record, got the function {getattr(sampler, '__name__', sampler)}: call it")
    raise TypeError(f"sampler must be a record such as samplers.ddim(), got {type(sampler).__name__}")


def _drive(
    keys: Keys,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    steps: Count,
    x: Array,
    trajectory: bool,
    on_level: OnLevel | None,
) -> Array:
    def advance(j: Count, state: State) -> State:
        level, cleaner = levels[j], levels[j + 1]
        state = sampler.step(
            sampler.noise_for_step(keys, j, level, cleaner), denoise, state, level, cleaner, steps - 1 - j
        )
        if on_level is not None:
            jax.debug.callback(on_level, j + 1, state.x)
        return state

    first = sampler.begin(denoise, x)
    if isinstance(steps, int):

        def scanned(state: State, j: Array) -> tuple[State, PyTree]:
            state = advance(j, state)
            return state, state.x if trajectory else None

        last, states = jax.lax.scan(scanned, first, jnp.arange(steps))
        if not trajectory:
            return last.x
        tail = jnp.broadcast_to(last.x, (len(levels) - 1 - steps, *x.shape))
        return jnp.concatenate([x[None], states, tail])
    if not trajectory:
        end: State = jax.lax.fori_loop(0, steps, advance, first)
        return end.x

    def recorded(j: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state = advance(j, carry[0])
        return state, carry[1].at[j + 1].set(state.x)

    last, states = jax.lax.fori_loop(
        0, steps, recorded, (first, jnp.zeros((len(levels), *x.shape), x.dtype).at[0].set(x))
    )
    after = (jnp.arange(len(levels)) > steps).reshape((-1,) + (1,) * x.ndim)
    return jnp.where(after, last.x[None], states)
