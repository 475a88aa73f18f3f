"""How one network of the comparison is trained and drawn from: a GAN by its method, or the diffusion model, of equal
size.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.adversarial import pacing, point_denoiser, waves
from experiments.adversarial.methods import DIFFUSION, METHODS, Weights
from gendiff import adversarial, diffusion, networks, training
from gendiff.adversarial import spectral, step
from gendiff.core import sample_keys
from gendiff.core.types import Params
from gendiff.runs import devices, program_costs
from gendiff.training.compile_step import INIT

DRAWN = np.uint32(2**32 - 4)
"""What the key of samples folds into key(0): none of a training does."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """Numbers of a sample and of a hidden layer, hidden layers, noise, samples that a step of a critic or of the
    diffusion model sees.

    waves: how many of each coordinate critics and the diffusion model see (waves.py).
    """

    size: int
    width: int
    depth: int
    noise: int
    batch: int
    denoising_batch: int
    waves: int


@dataclasses.dataclass(frozen=True)
class Rates:
    """learning: rate of both networks of a GAN. denoising: of the diffusion model. ema: decay of averages."""

    learning: float
    denoising: float
    ema: float


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Of one seed.

    step: (state, batch (rows, size)) -> (state, metrics). fresh: from the key of a seed, and for a paced recipe a
    factor of its learning rates, to the state before the first step.
    draw: (parameters, key, index (n,)) -> samples (n, size). decay: of the average that samples come from.
    flops: of one step, as XLA counts its operations.
    """

    step: Callable[..., Any]
    fresh: Callable[..., Any]
    draw: Callable[[Params, jax.Array, jax.Array], jax.Array]
    rows: int
    decay: float
    flops: float


@functools.lru_cache(maxsize=64)
def draws(recipe: Recipe) -> Any:
    """(parameters with an axis of runs, index (n,)) -> samples (runs, n, size): the same noise for all runs, which no
    training draws.
    """

    def one(params: Params, index: jax.Array) -> jax.Array:
        return recipe.draw(params, jax.random.fold_in(jax.random.key(0), DRAWN), index)

    return devices.jit(jax.vmap(one, in_axes=(0, None)))


@functools.lru_cache(maxsize=32)
def build(name: str, shape: Shape, rates: Rates, weights: Weights, sampling_steps: int, paced: bool = False) -> Recipe:
    """The recipe of a method; one object for equal arguments, so that data sets of one shape share its programs.

    paced: its states hold a factor of the learning rates, which `fresh` takes beside the key.
    """
    inputs = (
        _diffusion(shape, rates, sampling_steps, paced)
        if name == DIFFUSION
        else _gan(name, shape, rates, weights, paced)
    )
    if not paced:
        return inputs
    return dataclasses.replace(inputs, fresh=lambda key, pace: pacing.at_pace(inputs.fresh(key), pace))


def noise_at(key: jax.Array, index: jax.Array, size: int) -> jax.Array:
    """Standard normal noise (n, size), of which that of a sample depends on its index (n,) alone."""
    return jax.vmap(lambda one: jax.random.normal(one, (size,)))(sample_keys.keys_of(key, index))


def _gan(name: str, shape: Shape, rates: Rates, weights: Weights, paced: bool) -> Recipe:
    method = METHODS[name]
    generator = networks.DenseGenerator(shape.width, shape.depth, out=shape.size)
    critic = networks.DenseCritic(shape.width, shape.depth, features=method.features)
    generate, on_waves = networks.pure(generator), networks.pure(critic)
    normalised: Any = spectral.normalised(on_waves) if method.spectral else on_waves
    optimizer = method.optimizer(method.pace * rates.learning)
    optimizer = pacing.paced(optimizer) if paced else optimizer
    noise = step.normal_noise(shape.noise)

    def judge(params: Params, x: jax.Array) -> jax.Array:
        return normalised(params, waves.beside(x, shape.waves))

    def fresh(key: jax.Array) -> adversarial.AdversarialState:
        generator_key, critic_key, vector_key = jax.random.split(jax.random.fold_in(key, INIT), 3)
        params = networks.init(critic, critic_key, jnp.zeros((2, waves.size(method.packing * shape.size, shape.waves))))
        if method.spectral:
            params = spectral.start(vector_key, params)
        initial = networks.init(generator, generator_key, jnp.zeros((2, shape.noise)))
        return adversarial.start(initial, params, optimizer, optimizer, key, (rates.ema,))

    options: dict[str, Any] = {"noise": noise, "packing": method.packing}
    more: dict[str, Any] = {"penalties": method.penalties(weights), "constraint": method.constraint(weights)}

    def game(critic_steps: int) -> Callable[..., Any]:
        return adversarial.make_step(
            generate, judge, method.loss, optimizer, optimizer, critic_steps=critic_steps, **options, **more
        )

    def draw(params: Params, key: jax.Array, index: jax.Array) -> jax.Array:
        return generate(params, noise_at(key, index, shape.noise))

    # XLA counts the body of a loop once, so a step with one step of the critic is counted, and what that one costs
    # alone
    both, alone = game(1), training.make_step(step.generator_loss(generate, judge, method.loss, **options), optimizer)
    state, batch = jax.eval_shape(fresh, jax.random.key(0)), jax.ShapeDtypeStruct((shape.batch, shape.size), np.float32)
    of_generator = _flops(alone, state.generator, (state.critic.params, batch, ()))
    flops = method.critic_steps * (_flops(both, state, batch) - of_generator) + of_generator
    return Recipe(game(method.critic_steps), fresh, draw, method.critic_steps * shape.batch, rates.ema, flops)


def _diffusion(shape: Shape, rates: Rates, sampling_steps: int, paced: bool) -> Recipe:
    optimizer = optax.adam(rates.denoising)
    optimizer = pacing.paced(optimizer) if paced else optimizer

    def fresh(key: jax.Array) -> training.TrainState:
        params = point_denoiser.init(shape.size, shape.width, shape.depth, shape.waves, jax.random.fold_in(key, INIT))
        return training.start(params, optimizer, key, (rates.ema,))

    def loss(params: Params, key: jax.Array, clean: jax.Array) -> Any:
        return point_denoiser.LOSS(params, key, diffusion.Batch(clean=clean))

    def draw(params: Params, key: jax.Array, index: jax.Array) -> jax.Array:
        return point_denoiser.draw(params, key, index, shape.size, sampling_steps)

    build = training.make_step(loss, optimizer)
    state, batch = (
        jax.eval_shape(fresh, jax.random.key(0)),
        jax.ShapeDtypeStruct((shape.denoising_batch, shape.size), np.float32),
    )
    return Recipe(build, fresh, draw, shape.denoising_batch, rates.ema, _flops(build, state, batch))


def _flops(function: Callable[..., Any], *shapes: Any) -> float:
    return program_costs.flops(jax.jit(function).lower(*shapes))
