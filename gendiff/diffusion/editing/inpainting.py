"""Inpainting by RePaint (Lugmayr et al., 2022): what is known is put back, noised afresh, after every step.

With a fixed noise it is the plainer form of diffusers.

Steps are also taken back, so that what is painted and what is known agree.

A mask is 1, or True, where a sample is to be painted and 0 where it is kept. The grid decides where time goes back:
`resampled` makes one that rises again, and the sampler goes up such an interval by the forward chain.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Count
from gendiff.diffusion import process, sampling
from gendiff.diffusion.sampling import InnerNoise, Noise, Sampler, State, Wrapper
from gendiff.diffusion.types import Denoiser, Level


def resampled(levels: Level, resamples: int = 10, jump: int = 10) -> Level:
    """Make the grid on which every stretch of `jump` intervals is walked `resamples` times.

    From entries n - 1 - jump · m of a grid of n intervals, m = 0, 1, …, it goes back `jump` entries, where there are so
    many, and does so `resamples` - 1 times. One interval up does what `jump` steps of the chain would, and each stretch
    costs jump · (resamples - 1) more evaluations. With one resample, or a jump of n and more, the grid stays as it was.

    Args:
        levels: (n + 1,) a grid.
        resamples: >= 1; the default is the paper's, for 250 steps.
        jump: >= 1; the default is the paper's.

    Raises:
        TypeError: for counts that are no integers.
        ValueError: for counts below 1.

    References:
        Lugmayr et al., 2022, Alg. 1 and App. B (from memory).
    """
    checks.integer("resamples", resamples, 1)
    checks.integer("jump", jump, 1)
    last = sampling.steps_of(levels)
    back = {entry: resamples - 1 for entry in range(int(last) - 1, jump - 1, -jump)}
    entries = [0]
    while entries[-1] < last:
        entry = entries[-1] + 1
        entries.append(entry)
        if back.get(entry, 0):
            back[entry] -= 1
            entries.append(entry - jump)
    rows = np.array(entries)
    grid: Level = jax.tree.map(lambda field: jnp.asarray(field)[rows], levels)
    return grid


@records.record
class Repaint(Wrapper):
    """A sampler whose every step ends with what is known.

    Built by `repaint`. The sampler draws within part 1 of a step.
    """

    known: jax.Array
    mask: jax.Array
    noise: jax.Array | None = None

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        level, cleaner = (jax.tree.map(jnp.asarray, at) for at in (level, cleaner))
        if self.noise is not None:
            stepped = self.sampler.step(InnerNoise(noise, 1), denoise, state, level, cleaner, left)
            return records.replace(stepped, x=self.put_back(noise, stepped.x, cleaner, left))
        up = cleaner.sigma * level.alpha > level.sigma * cleaner.alpha
        rebuilt = _without_keys(noise)
        fresh = noise(state.x, 2)  # either of what is known or of the way back, never of both

        def down() -> Array:
            x = self.sampler.step(InnerNoise(rebuilt(), 1), denoise, state, level, cleaner, left).x
            return self._with_known(x, fresh, cleaner)

        def back() -> Array:
            # A level without signal is never one to go back from; the 1 keeps what vmap computes and throws away
            # finite.
            start = records.replace(level, alpha=jnp.where(up, level.alpha, 1.0))
            return process.forward_step(state.x, fresh, start, cleaner)

        return State(jax.lax.cond(up, back, down))

    def put_back(self, noise: Noise, x: Float[Array, "b *shape"], cleaner: Level, left: Count) -> Float[Array, "..."]:
        """The end of a step that falls, for loops that take the step of the inner sampler themselves.

        Args:
            noise: of the step; the inner sampler has drawn within its part 1.
            x: (b, …) the samples after the inner sampler.
            cleaner: where the step ends.
            left: how many intervals are still to come after this one.
        """
        if self.noise is None:
            return self._with_known(x, noise(x, 2), cleaner)
        # a grid of diffusers may end just above the clean end; what is known comes back clean all the same
        more = jnp.asarray(left) > 0
        end = Level(cleaner.t, jnp.where(more, cleaner.alpha, 1.0), jnp.where(more, cleaner.sigma, 0.0))
        return self._with_known(x, self.noise, end)

    def _with_known(self, x: Array, noise: Array, level: Level) -> Array:
        """What is painted of x, and elsewhere what is known, noised to the level."""
        known, mask = jnp.asarray(self.known).astype(x.dtype), jnp.asarray(self.mask).astype(x.dtype)
        if known.shape != x.shape:
            raise ValueError(
                f"known has shape {known.shape}, but the samples are {x.shape}: give one known sample for each"
            )
        return mask * x + (1 - mask) * process.add_noise(known, noise, level)


def repaint(
    sampler: Sampler,
    known: Float[ArrayLike, "b *shape"],
    mask: Shaped[ArrayLike, "..."],
    noise: Float[ArrayLike, "b *shape"] | None = None,
) -> Repaint:
    """Make every step of a sampler end with what is known, noised to the level reached.

    Also known as: inpainting, outpainting.

    Give it a grid from `resampled`; on a plain one nothing is walked twice, and what is painted fits its surroundings
    less well. Each sample draws its noise from its own keys. It takes at most the evaluations of `sampler`, because
    intervals up need none.

    Args:
        sampler: any without memory. The paper's is `ddpm()`; a sampler that draws noise forgets bad starts faster than
            `ddim()`.
        known: (b, …) clean samples, whose masked entries do not matter if finite.
        mask: broadcasts against known; 1 or True where it is to be painted, and entries between 0 and 1 blend. Where it
            is 0 the result is `known`, exactly, on a grid that ends clean.
        noise: (b, …) the noise of what is known at every level, for a grid that only falls; diffusers takes the one
            that the draw begins with. None: fresh noise in each step.

    Raises:
        ValueError: for a sampler with memory, which would be of another stretch, unless noise is given, for a mask that
            does not broadcast, and for noise of another shape.

    References:
        Lugmayr et al., 2022, Eq. 8 and Alg. 1 (from memory).
    """
    checks.floating("known", known)
    checks.unscaled_pixels("known", known)
    checks.in_range("mask", mask, 0.0, 1.0)
    sampling.check_no_noise_source("sampler", sampler)
    if noise is None and jax.tree.leaves(jax.eval_shape(sampler.init, known).memory):
        raise ValueError(
            "repaint needs a sampler without memory, such as ddpm(), ddim(), euler() or heun(): after a jump it would "
            "be stale"
        )
    try:
        shape = np.broadcast_shapes(np.shape(mask), known.shape)
    except ValueError:
        shape = ()
    if shape != known.shape:
        raise ValueError(f"mask has shape {np.shape(mask)}, which does not broadcast to that of known, {known.shape}")
    if noise is not None and np.shape(noise) != known.shape:
        raise ValueError(f"noise has shape {np.shape(noise)}, but known {known.shape}: it has one number for each")
    fixed = None if noise is None else jnp.asarray(noise)
    return Repaint(sampler, jnp.asarray(known), jnp.broadcast_to(jnp.asarray(mask), known.shape), fixed)


def _without_keys(noise: Noise) -> Callable[[], Noise]:
    """The noise from plain bits: under vmap both branches of a `cond` run, which JAX takes for a reuse of keys."""
    leaves, tree = jax.tree.flatten(noise)
    kinds = [
        jax.random.key_impl(leaf) if jnp.issubdtype(getattr(leaf, "dtype", bool), jax.dtypes.prng_key) else None
        for leaf in leaves
    ]
    plain = [leaf if kind is None else jax.random.key_data(leaf) for leaf, kind in zip(leaves, kinds, strict=True)]

    def rebuilt() -> Noise:
        typed = (
            leaf if kind is None else jax.random.wrap_key_data(leaf, impl=kind)
            for leaf, kind in zip(plain, kinds, strict=True)
        )
        source: Noise = jax.tree.unflatten(tree, typed)
        return source

    return rebuilt
