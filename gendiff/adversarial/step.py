"""One step of a GAN under jit: n steps of the critic, then one of the generator, each with its own optimizer.

Both halves go through `training.make_step`, so finite flags, clip and averages are the same code as for any other
training.
"""

import functools
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from gendiff import training
from gendiff.adversarial import packing as packs
from gendiff.adversarial.losses import AdversarialLoss
from gendiff.adversarial.penalties import Penalty
from gendiff.core import checks, explicit_axes, records
from gendiff.core.errors import ConfigError
from gendiff.core.types import ArrayLike, Batch, Condition, Loss, Metrics, Params, PyTree, Scalar
from gendiff.training import TrainState
from gendiff.training.post_hoc_ema import PowerFunction, Track
from gendiff.training.step import slices

Generate = Callable[..., jax.Array]
"""(params, noise, *condition) -> samples (b, …)."""
Criticise = Callable[..., jax.Array]
"""(params, x, *condition) -> logits (b,); larger means "real".

It may compare the samples of a batch with each other.
"""
Noise = Callable[[jax.Array, int], PyTree]
"""(key, count) -> what that many samples are generated from, count first."""
Augment = Callable[[jax.Array, jax.Array], jax.Array]
"""(key, samples) -> samples that the critic sees in their place, such as a record of `augmentation`."""
Real = ArrayLike | Batch
"""Real samples (b, …), or a record with `clean` and `condition`."""
Step = Callable[["AdversarialState", Real], tuple["AdversarialState", Metrics]]


@records.record
class AdversarialState:
    """Everything that the next step depends on.

    Attributes:
        generator: its parameters, averages and optimizer. Its step counts the steps of the training.
        critic: the same of the critic, without averages. Its step counts its own steps.
    """

    generator: TrainState
    critic: TrainState

    @property
    def step(self) -> jax.Array:
        """() int32, the number of steps done."""
        return self.generator.step

    @property
    def params(self) -> Params:
        """The parameters of the generator."""
        return self.generator.params

    @property
    def tracks(self) -> dict[Track, Params]:
        """The averages of the generator, by decay."""
        return self.generator.tracks

    @property
    def ema(self) -> Params:
        """The generator's first average, or its parameters when there is none."""
        return self.generator.ema


@records.record
class NormalNoise:
    """The noise of `normal_noise`."""

    size: int = records.static()

    def __call__(self, key: jax.Array, count: int) -> Float[Array, "n d"]:
        """Draw standard normal noise (count, size)."""
        return jax.random.normal(key, (count, self.size))


def normal_noise(size: int) -> NormalNoise:
    """Standard normal noise (count, size) for a generator.

    Raises:
        ValueError: for a size below 1.
    """
    checks.integer("size", size, 1)
    return NormalNoise(int(size))


def start(
    generator_params: Params,
    critic_params: Params,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    key: jax.Array,
    ema: Iterable[Scalar | PowerFunction] = (0.999,),
) -> AdversarialState:
    """Build the state before the first step.

    Every array is a copy, so donating the state leaves what it was made of usable.

    Args:
        generator_params: fresh parameters.
        critic_params: fresh parameters, and what `spectral.start` made of them where the critic is normalised.
        generator_optimizer: any optax transformation.
        critic_optimizer: any optax transformation; it has a state of its own.
        key: one typed key. The generator's is fold_in(key, 0), the critic's fold_in(key, 1), and each of their steps
            folds its number in.
        ema: decays or power functions of the generator's averages (see `training.start`).

    Raises:
        TypeError: for a key that is not typed.
        ValueError: for several keys.
        ConfigError: for a decay that is out of range or given twice.
    """
    checks.one_key("key", key)
    return AdversarialState(
        generator=training.start(generator_params, generator_optimizer, jax.random.fold_in(key, 0), ema),
        critic=training.start(critic_params, critic_optimizer, jax.random.fold_in(key, 1), ()),
    )


def make_step(
    generate: Generate,
    criticise: Criticise,
    loss: AdversarialLoss,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    noise: Noise,
    critic_steps: int = 1,
    penalties: Sequence[Penalty] = (),
    constraint: Callable[[Params], Params] | None = None,
    packing: int = 1,
    augment: Augment | None = None,
    clip: float | None = None,
    skip_nonfinite: bool = True,
    ema_warm_up: bool = True,
) -> Step:
    """Build `step(state, batch) -> (state, metrics)`: `critic_steps` steps of the critic, then one of the generator.

    A batch is an array of real samples (b, …), or a record with `clean` (b, …) and `condition`, such as
    `diffusion.Batch`. Step i of the critic sees the rows i, i + n, i + 2n, … of n = critic_steps, and as many generated
    samples of the same conditions. The generator's step draws as many again; its real rows and conditions are those of
    the critic's last step.

    The metrics are loss () of the critic with its penalties, penalty (), real_logit () and fake_logit (), each a mean
    over the critic's steps, grad_norm () of the critic before the clip, generator_loss (), generator_grad_norm () and
    finite () bool: whether every one of these steps was finite.

    Args:
        generate: `(params, noise, *condition) -> samples (b, …)`.
        criticise: `(params, x, *condition) -> logits (b,)`. Real and generated samples are two calls, so that what
            compares the samples of a batch never mixes them.
        loss: such as `losses.non_saturating()`.
        generator_optimizer: the one that `start` was given.
        critic_optimizer: the one that `start` was given.
        noise: `(key, count) -> (count, …)`, such as `normal_noise(64)`.
        critic_steps: n, at least 1.
        penalties: such as `(penalties.gradient(10.0),)`, added to the critic's loss. They see what the critic sees:
            augmented, packed.
        constraint: Params -> Params of the critic, applied after each of its updates, such as
            `constraints.weight_clipping(0.01)`.
        packing: how many samples the critic sees as one (see `packing.packed`), at least 1. It divides b / n.
        augment: `(key, samples) -> samples`, applied to real and generated samples alike before the critic sees them.
        clip: largest global norm of each of both gradients, above 0; None for no clip.
        skip_nonfinite: a step of the critic or of the generator that is not finite changes nothing but its count. The
            others go on.
        ema_warm_up: see `training.make_step`.

    Raises:
        ConfigError: for critic_steps or packing below 1, critic_steps that do not divide the batch, a clip not above 0,
            and packing with conditions, of which packed samples would have several.
        TypeError: for generated samples of another shape than the real ones, and for logits that are not (b,).

    References:
        Goodfellow et al., 2014, Algorithm 1; Arjovsky et al., 2017, Algorithm 1; Gulrajani et al., 2017, Algorithm 1
        (from memory).
    """
    for name, value in (("critic_steps", critic_steps), ("packing", packing)):
        checks.integer(name, value, low=-(2**31))
        if value < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")
    make = functools.partial(training.make_step, clip=clip, skip_nonfinite=skip_nonfinite)
    of_critic = critic_loss(
        generate, criticise, loss, noise=noise, penalties=penalties, packing=packing, augment=augment
    )
    of_generator = generator_loss(generate, criticise, loss, noise=noise, packing=packing, augment=augment)
    update_critic = make(of_critic, critic_optimizer)
    update_generator = make(of_generator, generator_optimizer, ema_warm_up=ema_warm_up)

    def step(state: AdversarialState, batch: Real) -> tuple[AdversarialState, Metrics]:
        def out(mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh) -> tuple[PyTree, PyTree]:
            return explicit_axes.like(state, mesh), explicit_axes.replicated(mesh)

        return explicit_axes.as_auto(advance, (state, batch), out)

    def criticised(generator: Params, critic: TrainState, part: PyTree) -> tuple[TrainState, Metrics]:
        following, metrics = update_critic(critic, (generator, *part))
        if constraint is not None:
            held = constraint(following.params)
            if skip_nonfinite:  # a skipped step leaves what a constraint counts or iterates alone too
                held = jax.tree.map(lambda new, old: jnp.where(metrics["finite"], new, old), held, following.params)
            following = records.replace(following, params=held)
        return following, metrics

    def advance(state: AdversarialState, batch: Real) -> tuple[AdversarialState, Metrics]:
        parts = slices(_parts(batch), critic_steps, "critic_steps")
        last = jax.tree.map(lambda leaf: leaf[-1], parts)
        fixed = state.generator.params
        if critic_steps == 1:  # XLA's loops keep convolutions of a CPU from using all cores
            critic, of_steps = criticised(fixed, state.critic, last)
        else:
            critic, of_steps = jax.lax.scan(lambda critic, part: criticised(fixed, critic, part), state.critic, parts)
        generator, measures = update_generator(state.generator, (critic.params, *last))
        metrics = {name: jnp.mean(value) for name, value in of_steps.items() if name != "finite"}
        metrics |= {f"generator_{name}": measures[name] for name in ("loss", "grad_norm")}
        return AdversarialState(generator, critic), metrics | {
            "finite": jnp.all(of_steps["finite"]) & measures["finite"]
        }

    return step


def critic_loss(
    generate: Generate,
    criticise: Criticise,
    loss: AdversarialLoss,
    *,
    noise: Noise,
    penalties: Sequence[Penalty] = (),
    packing: int = 1,
    augment: Augment | None = None,
) -> Loss:
    """The loss of a critic's step, for a loop of your own.

    It takes `(critic's params, key, (generator's params, clean, condition))`. Its metrics are penalty, real_logit and
    fake_logit. See `make_step` for the arguments.
    """

    def objective(params: Params, key: jax.Array, batch: PyTree) -> tuple[jax.Array, Metrics]:
        generator, clean, condition = batch
        penalty_key, view_key = jax.random.split(key)
        real, fake = _views(view_key, generate, generator, clean, condition, noise, packing, augment)

        def logits(x: jax.Array) -> jax.Array:
            return _logits(criticise, params, x, condition)

        on_real, on_fake = logits(real), logits(fake)
        added = sum(
            (
                penalty(jax.random.fold_in(penalty_key, number), logits, real, fake)
                for number, penalty in enumerate(penalties)
            ),
            start=jnp.zeros(()),
        )
        return loss.critic(on_real, on_fake) + added, {
            "penalty": jnp.asarray(added),
            "real_logit": jnp.mean(on_real),
            "fake_logit": jnp.mean(on_fake),
        }

    return objective


def generator_loss(
    generate: Generate,
    criticise: Criticise,
    loss: AdversarialLoss,
    *,
    noise: Noise,
    packing: int = 1,
    augment: Augment | None = None,
) -> Loss:
    """The loss of a generator's step, for a loop of your own.

    It takes `(generator's params, key, (critic's params, clean, condition))` and has no metrics. See `make_step` for
    the arguments.
    """

    def objective(params: Params, key: jax.Array, batch: PyTree) -> tuple[jax.Array, Metrics]:
        critic, clean, condition = batch
        real, fake = _views(key, generate, params, clean, condition, noise, packing, augment)
        on_fake = _logits(criticise, critic, fake, condition)
        on_real = _logits(criticise, critic, real, condition) if loss.uses_real else None
        return loss.generator(on_real, on_fake), {}

    return objective


def _views(
    key: jax.Array,
    generate: Generate,
    params: Params,
    clean: jax.Array,
    condition: tuple[Condition, ...],
    noise: Noise,
    packing: int,
    augment: Augment | None,
) -> tuple[jax.Array, jax.Array]:
    """Real and generated samples as the critic sees them."""
    noise_key, real_key, fake_key = jax.random.split(key, 3)
    fake = generate(params, noise(noise_key, clean.shape[0]), *condition)
    if fake.shape != clean.shape:
        raise TypeError(
            f"the generator answered shape {fake.shape} where the real samples have {clean.shape}: they must be equal"
        )
    real = clean
    if augment is not None:
        real, fake = augment(real_key, real), augment(fake_key, fake)
    if packing > 1:
        if condition:
            raise ConfigError(
                f"packing = {packing} with conditions: a packed sample would have {packing} of each; use packing=1"
            )
        real, fake = packs.packed(real, packing), packs.packed(fake, packing)
    return real, fake


def _logits(criticise: Criticise, params: Params, x: jax.Array, condition: tuple[Condition, ...]) -> jax.Array:
    answer = criticise(params, x, *condition)
    if answer.shape != x.shape[:1]:
        raise TypeError(
            f"the critic answered shape {answer.shape} to x of shape {x.shape}: it must be {x.shape[:1]}, a logit per "
            "sample"
        )
    return answer


def _parts(batch: Real) -> tuple[ArrayLike, tuple[Condition, ...]]:
    """(samples, conditions) of a batch."""
    if isinstance(batch, jax.Array | np.ndarray):
        return batch, ()
    return batch.clean, batch.condition if isinstance(batch.condition, tuple) else (batch.condition,)
