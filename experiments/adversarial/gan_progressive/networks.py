"""The networks of the comparison: a pair that grows or does not, and the diffusion model beside it; how each takes a
step and draws.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.adversarial import recipes
from experiments.adversarial.gan_progressive import pictures
from experiments.adversarial.gan_progressive.config import Config, PictureNumbers, numbers, shape
from experiments.adversarial.gan_progressive.pictures import Growing
from experiments.diffusion.image_draws import Draws
from gendiff import adversarial, networks
from gendiff.adversarial import AdversarialState, losses, penalties
from gendiff.commands.images import image_model, image_training
from gendiff.commands.images.image_model import Model
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.runs import devices, drawing, program_costs, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, TrainState
from gendiff.training.compile_step import INIT

Shape = tuple[int, int, int]
SEED = 1
"""Of the noise that samples are made from; training has its own seeds."""
NOISE, EMA, TOGETHER = 64, 0.99, 50
"""Numbers that a picture of a GAN is made from; decay of the averages that draw it; samples in one call."""


@dataclass(frozen=True)
class Game:
    """A pair at one stage of growing; one that does not grow is at its last stage from the start.

    step: (state, batch) -> (state, metrics). fresh: from a key to the state, the same at all stages. draw: (parameters,
    key, index (n,), weight ()) -> pictures of the stage.
    """

    step: Callable[[AdversarialState, Growing], tuple[AdversarialState, Metrics]]
    fresh: Callable[[jax.Array], AdversarialState]
    draw: Callable[[Params, jax.Array, jax.Array, jax.Array], jax.Array]


def stages(picture_shape: Shape) -> int:
    """How many stages a pair for pictures of this shape has."""
    return networks.ProgressiveGenerator(size=picture_shape[0]).stages


def last(config: Config, subject: str) -> int:
    """The stage at which pictures have their full size."""
    return stages(shape(config, subject)) - 1


@functools.lru_cache(maxsize=32)
def game(settings: PictureNumbers, shape: Shape, stage: int, convolution: str) -> Game:
    """One object for equal arguments, so that all seeds share its programs."""
    generator, critic = (each.clone(stage=stage, convolution=convolution) for each in _pair(settings, shape))
    generate, criticise, optimizer = networks.pure(generator), networks.pure(critic), _adam()
    played = adversarial.make_step(
        *(generate, criticise, losses.non_saturating(), optimizer, optimizer),
        noise=adversarial.normal_noise(NOISE),
        penalties=(penalties.r1(settings.slopes_weight),) if settings.slopes_weight else (),
    )

    def step(state: AdversarialState, batch: Growing) -> tuple[AdversarialState, Metrics]:
        def restarted(player: TrainState) -> TrainState:
            new = optimizer.init(player.params)
            state_of_optimizer = jax.tree.map(
                lambda new, old: jnp.where(batch.first[0], new, old), new, player.optimizer_state
            )
            return records.replace(player, optimizer_state=state_of_optimizer)

        # moments of parameters that had no gradient are 0: without a new start their first steps would be many times
        # too long
        state = AdversarialState(restarted(state.generator), restarted(state.critic))
        real = pictures.at_stage(batch.clean, generator.side, batch.weight)
        return played(state, Batch(clean=real, condition=(batch.weight,)))

    def draw(params: Params, key: jax.Array, index: jax.Array, weight: jax.Array) -> jax.Array:
        return generate(params, recipes.noise_at(key, index, NOISE), weight)

    return Game(step, _fresh(settings, shape), draw)


def trained_game(config: Config, subject: str, stage: int) -> Game:
    """With the convolution whose gradients a CPU computes fast."""
    convolution = "fast_backward" if jax.default_backend() == "cpu" else "direct"
    return game(numbers(config, subject), shape(config, subject), stage, convolution)


def last_game(config: Config, subject: str) -> Game:
    """That of the last stage."""
    return trained_game(config, subject, last(config, subject))


def flops(config: Config, subject: str, stage: int) -> float:
    """Operations of one step as XLA counts those of plain convolutions."""
    settings, full = numbers(config, subject), shape(config, subject)
    plain = game(settings, full, stage, "direct")
    batch = Growing(
        np.zeros((settings.batch, *full), np.float32),
        np.ones(settings.batch, np.float32),
        np.zeros(settings.batch, np.bool_),
    )
    return program_costs.flops(jax.jit(plain.step).lower(jax.eval_shape(plain.fresh, jax.random.key(0)), batch))


@functools.lru_cache(maxsize=32)
def programs(pair: Game, mesh: jax.sharding.Mesh) -> CompiledStep:
    """What `training_loop.train` runs."""
    return training_loop.compile_step(pair.step, pair.fresh, mesh)


@functools.lru_cache(maxsize=32)
def jitted_draw(pair: Game) -> Callable[..., jax.Array]:
    """Its jitted draw."""
    return devices.jit(pair.draw)


def generated(pair: Game, params: Params, count: int, weight: float) -> np.ndarray:
    """`count` pictures of a stage, whatever the batches are that they are drawn in."""
    draw = functools.partial(jitted_draw(pair), params, jax.random.key(SEED), weight=jnp.float32(weight))
    index = np.arange(count, dtype=np.int32)
    groups = drawing.stream(draw, [(None, (index,))], together=min(TOGETHER, count))
    return drawing.finite(np.concatenate([part for _, _, part in groups]), "samples of a GAN")


def denoiser(config: Config, subject: str) -> Model:
    """The diffusion model. All pictures have one class."""
    fields: dict[str, Any] = {"shape": shape(config, subject), "num_classes": 1, "levels": None}
    recipe = numbers(config, subject).denoiser
    if jax.default_backend() == "cpu":
        fields["convolution"] = "fast_backward"
    return image_training.unet(recipe, schedules.flow(), parameterization.flow(), **fields)


def denoising(config: Config, folder: RunFolder, subject: str, images: np.ndarray) -> dict[str, Any]:
    """The arguments of `training_loop.train`, and of a step benchmark, that name the training of the diffusion
    model.
    """
    recipe, model = numbers(config, subject).denoiser, denoiser(config, subject)
    return {
        "program": training_loop.compile_loss(
            *(image_model.loss(model), image_training.steady_optimizer(recipe), model.init, folder),
            ema=(recipe.ema,),
            ema_warm_up=True,
        ),
        "data": Batch(clean=images, condition=(np.zeros(len(images), np.int32),)),
        "batch": recipe.batch,
    }


def draws(config: Config, subject: str, progress: Progress) -> Draws:
    """Samples of the diffusion model in any number of steps up to the many."""
    return Draws(denoiser(config, subject), config.many, min(TOGETHER, numbers(config, subject).samples), progress)


def _pair(settings: PictureNumbers, shape: Shape) -> tuple[networks.ProgressiveGenerator, networks.ProgressiveCritic]:
    fields: dict[str, Any] = {
        "size": shape[0],
        "image_channels": shape[2],
        "width": settings.width,
        "widest": settings.widest,
    }
    return networks.ProgressiveGenerator(**fields), networks.ProgressiveCritic(**fields, features="deviation")


def _adam() -> optax.GradientTransformation:
    """That of Karras et al., 2018, App. A.1 (from memory)."""
    return optax.adam(1e-3, b1=0.0, b2=0.99)


@functools.lru_cache(maxsize=32)
def _fresh(settings: PictureNumbers, shape: Shape) -> Callable[[jax.Array], AdversarialState]:
    """One object for all stages, so that they share its program."""
    (generator, critic), optimizer = _pair(settings, shape), _adam()

    def fresh(key: jax.Array) -> AdversarialState:
        generator_key, critic_key = jax.random.split(jax.random.fold_in(key, INIT))
        initial = networks.init(generator, generator_key, jnp.zeros((2, NOISE)))
        return adversarial.start(
            initial, networks.init(critic, critic_key, jnp.zeros((2, *shape))), optimizer, optimizer, key, (EMA,)
        )

    return fresh
