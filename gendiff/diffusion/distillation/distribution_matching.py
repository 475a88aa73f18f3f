"""Distribution matching: a generator follows the difference of two scores, its teacher's and that of its own samples.

Two networks learn. The generator learns by `distribution_matching`, and the fake denoiser learns its samples by
`on_generated`. Each loss takes the other network as a frozen tree. The fake denoiser takes several steps for each step
of the generator.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import Condition, Loss, Metrics, Numeric, Params, PyTree, Scalar
from gendiff.diffusion import objectives, process, weighting
from gendiff.diffusion.distillation.teacher import Tell, with_condition
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Level, Prediction

Generate = Callable[..., jax.Array]
"""(params, noise (b, …), *condition) -> samples (b, …)."""
Adversary = Callable[[PyTree, jax.Array, Level, tuple[Condition, ...]], jax.Array]
"""(frozen tree, noised samples (b, …), level (b,), conditions) -> losses (b,), with a gradient by the samples."""


@records.record
class DistributionMatchingLoss:
    """The loss of `distribution_matching`."""

    generate: Generate = records.static()
    schedule: Schedule = records.static()
    weight: weighting.Weight = records.static()
    levels: weighting.LevelSampler = records.static()
    normalise: bool = records.static()
    tell: Tell = records.static()
    adversary: Adversary | None = records.static()
    adversary_weight: Numeric = 0.0

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, real: PyTree, fake: PyTree, critic: PyTree = None
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, _ = objectives.parts_of(batch)
        start_key, noise_key, level_key = jax.random.split(key, 3)
        start, noise = (jax.random.normal(each, clean.shape, clean.dtype) for each in (start_key, noise_key))
        level = self.levels(level_key, self.schedule, clean.shape[0])
        return self.at(params, start, noise, level, batch, real, fake, critic)

    def at(
        self,
        params: Params,
        start: Float[Array, "b *shape"],
        noise: Float[Array, "b *shape"],
        level: Level,
        batch: Batch,
        real: PyTree,
        fake: PyTree,
        critic: PyTree = None,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss of known noise: `start` (b, …) of the generator, `noise` (b, …) of its samples at `level` (b,)."""
        if (self.adversary is None) != (critic is None):
            raise ValueError(
                "an adversary and its frozen tree go together: pass adversary=… and the tree behind `fake`, or neither"
            )
        _, condition = objectives.parts_of(batch)
        generated = self.generate(params, start, *condition)
        x = process.add_noise(generated, noise, level)
        fixed, noised = jax.lax.stop_gradient((generated, x))
        towards, away = (jax.lax.stop_gradient(self.tell(each, condition)(noised, level)) for each in (real, fake))
        direction = matching_direction(fixed, towards, away, level, self.weight, normalise=self.normalise)
        pull = jnp.mean(direction * generated)
        loss = pull - jax.lax.stop_gradient(pull) + jnp.mean(jnp.square(direction)) / 2
        metrics = {"disagreement": jnp.mean(jnp.square(away.clean - towards.clean))}
        if self.adversary is None:
            return loss, metrics
        cost = jnp.mean(self.adversary(critic, x, level, condition))
        return loss + self.adversary_weight * cost, metrics | {"adversary": cost}


def distribution_matching(
    generate: Generate,
    schedule: Schedule,
    *,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    normalise: bool = True,
    tell: Tell = with_condition,
    adversary: Adversary | None = None,
    adversary_weight: Scalar = 1e-3,
) -> DistributionMatchingLoss:
    """A generator's loss: its gradient by the samples is `matching_direction` over the number of entries of the batch.

    Also known as: DMD.

    The direction estimates the gradient of KL(generator || teacher) over noised samples. The value of the loss is half
    the mean square of the direction, which is no divergence, but is 0 where the fake denoiser and the teacher agree.

    Args:
        generate: (params, noise, *condition) -> samples, such as `one_step(…)`.
        schedule: the noise path.
        weight: the factor on each sample's direction, stated on the clean prediction; default `weighting.uniform()`.
            With `weighting.p2(gamma=0.0)`, which is the SNR, and normalise=False the gradient is that of the divergence
            itself.
        levels: how levels are drawn; default `weighting.uniform_levels(span=(0.02, 0.98))`.
        normalise: whether each direction is divided by the mean of |sample - the teacher's clean prediction|.
        tell: (frozen tree, conditions) -> denoiser, as in `progressive_distillation`; for the teacher and for the fake
            denoiser. A teacher may be guided.
        adversary: (critic, x, level, conditions) -> (b,), the cost of each noised sample x to the generator. It has a
            frozen tree of its own, such as the parameters of a critic. The costs of `adversarial.losses` may stand in
            it.
        adversary_weight: () at least 0, data under jit; the factor on the mean cost.

    Returns:
        The loss (params, key, batch, real, fake) -> (scalar, metrics), or (params, key, batch, real, fake, critic) with
        an adversary. Of the `diffusion.Batch` it reads the conditions and the shape of the clean samples. `real` is the
        teacher and `fake` the denoiser of the generator's samples, both as frozen trees. Metrics are `disagreement`,
        the mean square difference of their clean predictions, and `adversary`, the mean cost.

    Raises:
        ValueError: for a negative weight, and when called, for an adversary without its frozen tree or a tree without
            adversary.

    References:
        Yin et al., 2024a, Eqs. 7 and 8; Yin et al., 2024b, for two time scales and the adversary (both from memory).
    """
    checks.in_range("adversary_weight", adversary_weight, 0.0, math.inf, open_high=True)
    return DistributionMatchingLoss(
        generate,
        schedule,
        weight or weighting.uniform(),
        levels or weighting.uniform_levels(span=(0.02, 0.98)),
        normalise,
        tell,
        adversary,
        adversary_weight,
    )


def matching_direction(
    generated: Float[Array, "b *shape"],
    real: Prediction,
    fake: Prediction,
    level: Level,
    weight: weighting.Weight | None = None,
    *,
    normalise: bool = True,
) -> Float[Array, "b *shape"]:
    """The direction weight · (fake - real) / mean |generated - real| of clean predictions, away from the teacher.

    The scores differ by alpha / sigma² times that difference. Where the mean is 0 the direction is 0.

    Args:
        generated: (b, …) the generator's samples.
        real: what the teacher predicts of them, noised.
        fake: what the fake denoiser predicts of the same.
        level: () or (b,).
        weight: the factor (b,), stated on the clean prediction; default 1.
        normalise: whether to divide by the mean, which is over the coordinates of each sample.

    References:
        Yin et al., 2024a, Eq. 8, without its factor alpha, as in their code (from memory).
    """
    direction = fake.clean - real.clean
    if weight is not None:
        factor = weight(level, jnp.ones_like(jnp.asarray(level.alpha)))
        direction = arrays.expand(factor, direction) * direction
    if not normalise:
        return direction
    distance = jnp.mean(jnp.abs(arrays.flatten_samples(generated - real.clean)), axis=1)
    return arrays.safe_divide(direction, arrays.expand(distance, direction))


@records.record
class OnGenerated:
    """The loss of `on_generated`."""

    generate: Generate = records.static()
    loss: Loss

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, generator: Params
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, condition = objectives.parts_of(batch)
        start_key, loss_key = jax.random.split(key)
        generated = self.generate(generator, jax.random.normal(start_key, clean.shape, clean.dtype), *condition)
        return self.loss(params, loss_key, Batch(jax.lax.stop_gradient(generated), condition))


def on_generated(generate: Generate, loss: Loss) -> OnGenerated:
    """A loss of batches on what a generator draws in their place, such as `objectives.denoising` for the fake denoiser.

    Args:
        generate: (params, noise, *condition) -> samples, such as `one_step(…)`.
        loss: (params, key, batch) -> (scalar, metrics).

    Returns:
        The loss (params, key, batch, generator) -> (scalar, metrics). Of the `diffusion.Batch` it reads the conditions
        and the shape of the clean samples; `generator` are the generator's parameters, as a frozen tree.

    References:
        Yin et al., 2024a, Eq. 6 (from memory).
    """
    return OnGenerated(generate, loss)
