"""The likelihood of a sampler's trajectory: each step's Gaussian law, its log-density, and the KL of two policies.

A sampler that evaluates its denoiser once per step, at x, and draws noise once, moves by x' = mean(x) + std * noise. So
denoising is a chain of actions: the action of a step is the next x, and its log-probability is a Gaussian log-density.
A policy gradient takes these as it takes the log-probabilities of tokens. A step that adds no noise, such as the last
one to sigma = 0, has no density and is no action.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Count, Denoiser, Level, Part, Prediction, Sampler


@records.record
class StepLaw:
    """The Gaussian laws of t steps of b samples.

    Built by `trajectory_laws`, or for one step by `step_law`.

    Args:
        mean: (b, t, …), or (b, …) of one step.
        std: the same shape, >= 0, of each coordinate.
    """

    mean: jax.Array
    std: jax.Array

    @property
    def mask(self) -> Bool[Array, "b t"]:
        """Which steps add noise in every coordinate, and so have a density."""
        return jnp.all(_flat(self.std) > 0, axis=2)

    def log_prob(self, x: Float[ArrayLike, "b t *shape"]) -> Float[Array, "b t"]:
        """Log-density of each step's end x, summed over coordinates, in nats; 0, without reading x, where it has none.

        Raises:
            ValueError: for x of another shape than the mean.
        """
        checks.same_shape("x", x, "mean", self.mean)
        mask = self.mask
        std = _fill(self.std, mask, 1.0)
        away = _fill(jnp.asarray(x) - self.mean, mask, 0.0) / std
        return jnp.where(mask, -jnp.sum(away**2 / 2 + jnp.log(std) + math.log(2 * math.pi) / 2, axis=2), 0.0)

    def log_ratio(self, other: "StepLaw", x: Float[ArrayLike, "b t *shape"]) -> Float[Array, "b t"]:
        """Log-density of each step's end x less that of the other law, in nats; 0 where either has none.

        x is not read there. It is summed from differences of coordinates, so it is as exact as the means are. A
        difference of two `log_prob` is not: of 3,072 coordinates in float32 each is thousands of nats, and so their
        difference is wrong by up to 5e-4.

        Raises:
            ValueError: for x or a law of another shape.
        """
        checks.same_shape("x", x, "mean", self.mean)
        mask, this_std, std, difference = self._beside(other)
        away = _fill(jnp.asarray(x) - self.mean, mask, 0.0) / this_std
        further = (difference + away * (this_std - std)) / std  # from the other mean in its deviations, less away
        return jnp.sum(further * (further / 2 + away) - jnp.log(this_std / std), axis=2)

    def kl(self, other: "StepLaw") -> Float[Array, "b t"]:
        """KL(this ‖ other) of each step in nats, in closed form; 0 where either has no density.

        Over trajectories of this policy the sum over steps has the KL of the two laws of trajectories as its mean,
        which is at least the KL of their samples. Its variance is less than that of log-ratios, since the mean over the
        noise of a step is exact.

        Raises:
            ValueError: for laws of another shape.
        """
        _, this_std, std, difference = self._beside(other)
        away, ratio = difference / std, this_std / std
        return jnp.sum(away**2 / 2 + (ratio - 1) * (ratio + 1) / 2 - jnp.log(ratio), axis=2)

    def _beside(self, other: "StepLaw") -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Which steps have both densities (b, t), both deviations (else 1), and the difference of means (b, t, d)."""
        checks.same_shape("mean", self.mean, "other.mean", other.mean)
        mask = self.mask & other.mask
        return mask, _fill(self.std, mask, 1.0), _fill(other.std, mask, 1.0), _fill(self.mean - other.mean, mask, 0.0)


def step_law(
    sampler: Sampler, denoise: Denoiser, x: Float[ArrayLike, "b *shape"], level: Level, cleaner: Level, left: Count = 0
) -> StepLaw:
    """Find the law of one step of a sampler from x: its mean, and its standard deviation in each coordinate.

    The mean is the step with noise 0, and the standard deviation its derivative by the noise, which is exact: the step
    is affine in it. The denoiser is evaluated once, and gradients pass through it.

    Args:
        sampler: such as `diffusion.samplers.ddim(eta=1.0)` or `ddpm()`.
        denoise: the denoiser.
        x: (b, …) at `level`.
        level: where the step begins, () or (b,).
        cleaner: where it ends.
        left: how many intervals are still to come after this one.

    Raises:
        ValueError: for a step that draws no noise, as of `ddim(eta=0.0)`: it has no density.
        TypeError: for a sampler with memory, one that evaluates the denoiser elsewhere than at x, and one that draws
            several times in a step: their ends are no Gaussian that x alone tells.

    References:
        Black et al., 2023, section 4.2 (from memory).
    """
    start = jnp.asarray(x)
    name = type(sampler).__name__
    first = sampler.init(start)
    if jax.tree.leaves(first.memory):
        raise TypeError(
            f"{name} remembers earlier steps, so that x alone does not tell the law of the next: use ddim(eta=1.0) or "
            "ddpm()"
        )
    prediction = denoise(start, level)
    draws: list[Part] = []

    def ended(noise: jax.Array) -> jax.Array:
        def standard_normal(like: jax.Array, part: Part = 0) -> jax.Array:
            draws.append(part)
            if len(draws) > 1 or like.shape != noise.shape:
                raise TypeError(
                    f"{name} draws noise several times in a step, so it is not Gaussian: use ddim(eta=1.0) or ddpm()"
                )
            return noise

        def known(at: jax.Array, here: Level) -> Prediction:
            if at is not start or here is not level:
                raise TypeError(
                    f"{name} evaluates the denoiser elsewhere than at x, so its step is not Gaussian: use "
                    "ddim(eta=1.0) or ddpm()"
                )
            return prediction

        return sampler.step(standard_normal, known, first, level, cleaner, left).x

    mean, std = jax.jvp(ended, (jnp.zeros_like(start),), (jnp.ones_like(start),))
    if not draws:
        raise ValueError(
            f"{name} draws no noise, so that its steps have no density: use a stochastic sampler, such as ddim(eta=1.0)"
        )
    return StepLaw(mean, std)


def trajectory_laws(
    sampler: Sampler,
    denoise: Denoiser,
    trajectory: Float[ArrayLike, "_ b *shape"],
    levels: Level,
    *,
    together: bool = True,
) -> StepLaw:
    """Find the law of every step of stored trajectories.

    Args:
        sampler: as for `step_law`.
        denoise: the denoiser; conditions align with the samples.
        trajectory: (t + 1, b, …) states at each level, as `diffusion.sample(..., trajectory=True)` returns them.
        levels: the grid (t + 1,) that it was drawn on. What `num_steps` left out of a padded grid adds no noise, and so
            is masked.
        together: one evaluation of the denoiser for all steps, in memory of t · b samples; False takes one step after
            the other.

    Returns:
        The laws (b, t, …).

    Raises:
        ValueError: for a trajectory that is not as long as the grid, and a sampler without noise.
        TypeError: as `step_law` does.
    """
    states = jnp.asarray(trajectory)
    grid: Level = jax.tree.map(jnp.asarray, levels)
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(grid)}
    if lengths != {states.shape[0]} or states.shape[0] < 2:
        sizes = ", ".join(map(str, sorted(lengths)))
        raise ValueError(
            f"trajectory has {states.shape[0]} states for levels of length {sizes}: one state per level is needed, and "
            "at least two"
        )
    steps = states.shape[0] - 1
    all_steps = (states[:-1], grid[:-1], grid[1:], jnp.arange(steps)[::-1])

    def one(x: jax.Array, level: Level, cleaner: Level, left: jax.Array) -> StepLaw:
        return step_law(sampler, denoise, x, level, cleaner, left)

    laws = jax.vmap(one)(*all_steps) if together else jax.lax.map(lambda each: one(*each), all_steps)
    by_sample: StepLaw = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), laws)
    return by_sample


def trajectory_log_prob(
    sampler: Sampler,
    denoise: Denoiser,
    trajectory: Float[ArrayLike, "_ b *shape"],
    levels: Level,
    *,
    together: bool = True,
) -> Float[Array, "b _"]:
    """Log-density of each stored next x under a policy, in nats; 0 for a step without noise.

    `trajectory_laws(…).mask` marks the steps with noise. The density of the first state is left out: no parameter
    enters it. The sum over d coordinates is meant, not their mean, as some trainers take it: ratios and clips are then
    those of densities.

    A last step without noise depends on the parameters too, of which no log-probability tells. For an exact policy
    gradient let the reference take it, or end the grid before it.

    Args:
        sampler: as for `step_law`.
        denoise: the denoiser, with the parameters whose log-probabilities are wanted.
        trajectory: (t + 1, b, …), drawn by any policy with this sampler.
        levels: the grid (t + 1,).
        together: as for `trajectory_laws`.

    Returns:
        (b, t).

    Raises:
        ValueError: as `trajectory_laws` does.
        TypeError: as `step_law` does.

    References:
        Black et al., 2023, Eq. 6; Fan et al., 2023, section 3 (from memory).
    """
    laws = trajectory_laws(sampler, denoise, trajectory, levels, together=together)
    return laws.log_prob(ends(trajectory))


def ends(trajectory: Float[ArrayLike, "_ b *shape"]) -> Float[Array, "b _ *shape"]:
    """The end (b, t, …) of each step of a trajectory (t + 1, b, …), whose law `trajectory_laws` has."""
    return jnp.moveaxis(jnp.asarray(trajectory)[1:], 0, 1)


def _flat(array: ArrayLike) -> jax.Array:
    """(b, t, …) as (b, t, d)."""
    values = jnp.asarray(array)
    return values.reshape(*values.shape[:2], -1)


def _fill(array: ArrayLike, mask: jax.Array, otherwise: float) -> jax.Array:
    """(b, t, d) of an array (b, t, …), with a number without gradient where a step has no density."""
    flat = _flat(array)
    return jnp.where(mask[:, :, None], flat, jnp.asarray(otherwise, flat.dtype))
