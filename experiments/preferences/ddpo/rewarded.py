"""What policies draw and what is rewarded: digits by a classifier or by their ink, scenes by what an oracle reads from
their pixels.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import encoded_captions
from experiments.preferences.ddpo import judges
from experiments.preferences.ddpo.config import DIGIT, INK, SCENES, Config
from experiments.tasks import captions, shapes, shapes_oracle
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import networks, published
from gendiff.commands.trained_networks import FOLDER
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import grids, parameterization, samplers, sampling, schedules
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser, Level, Prediction
from gendiff.networks import lora
from gendiff.preferences import trajectory
from gendiff.preferences.bradley_terry import Normaliser
from gendiff.preferences.trajectory import StepLaw
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

BASE, BASE_SEED = "base", 0
"""Where the network of digits that is the reference is trained, and its seed."""
DRAWN = np.uint32(2**32 - 6)
"""What the key of judged samples folds into key(0): no key of a training comes from it."""
APART = 2**24
"""The number of the first sample that tells the scale of a reward: none that is judged is so large."""
RED_CIRCLE = (shapes.COLOURS.index("red"), shapes.SHAPES.index("circle"))
TEXT_PATHS = "cross_(query|key_value|output)/kernel$"
"""Where a network of scenes reads its text."""
MOST = {DIGIT: 0.0, INK: 1.0, SCENES: 1.0}
"""The largest reward that there can be."""


@dataclass(frozen=True, eq=False)
class RewardedTask:
    """A reference policy, how it draws, and its rewards. Sample i of a training shows prompt i mod `prompts`.

    The actions of a policy are the first `acting` ancestral steps along `levels`. The reference takes the rest, so the
    law of a sample given the last action is fixed. Then the policy gradient is exact, and the KL of samples is at most
    that of the actions. The last step, to the clean sample, adds no noise and has no density, so it is never an action.

    rewards: their names. reference: its parameters. words: the condition, a pytree of arrays with one row per prompt:
    those that are learned come first. score: (images (b, …), prompt (b,)) -> (b, rewards) under jit. asked: (n, 3, 4)
    the attributes of scenes that the prompts ask for; None for digits. adapted: rank and paths of low-rank changes,
    which are then all that a policy learns.
    """

    rewards: tuple[str, ...]
    model: Model
    reference: Params
    words: Any
    prompts: int
    levels: Level
    acting: int
    score: Callable[[jax.Array, jax.Array], jax.Array]
    asked: np.ndarray | None = None
    adapted: tuple[int, str] | None = None
    sampler: Sampler = dataclasses.field(default_factory=functools.partial(samplers.ddim, eta=1.0))

    def start(self, key: jax.Array) -> Params:
        """The parameters that a policy learns, as they are when it is the reference."""
        if self.adapted is None:
            return jax.tree.map(jnp.asarray, self.reference)
        return lora.start(key, self.reference, *self.adapted)

    def merged(self, learned: Params, reference: Params) -> Params:
        """Those of the network."""
        return learned if self.adapted is None else lora.merge(reference, learned)

    def denoiser(self, params: Params, prompt: jax.Array) -> NetworkDenoiser:
        """The policy of these parameters, for one prompt (b,) of each sample."""
        words = jax.tree.map(lambda leaf: jnp.asarray(leaf)[prompt], self.words)
        return self.model.denoiser(params, words)

    def prompt(self, index: Any) -> Any:
        """(b,) of samples by their index."""
        return index % self.prompts

    def draw(
        self, key: jax.Array, params: Params, reference: Params, index: jax.Array, prompt: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The states (acting + 1, b, …) of the actions of each sample by its index (b,), and the samples (b, …)."""
        denoise, shape = self.drawing_denoiser(params, reference, prompt), self.model.shape
        states = sampling.sample(key, denoise, self.sampler, self.levels, shape, index, trajectory=True)
        return states[: self.acting + 1], states[-1]

    def laws(self, params: Params, states: jax.Array, prompt: jax.Array) -> StepLaw:
        """(b, acting, …) of the actions of a policy at states (acting + 1, b, …)."""
        return trajectory.trajectory_laws(
            self.sampler, self.denoiser(params, prompt), states, self.levels[: self.acting + 1]
        )

    def laws_of_both(
        self, params: Params, reference: Params, states: jax.Array, prompt: jax.Array
    ) -> tuple[StepLaw, StepLaw]:
        """Those of a policy and of the reference."""
        return self.laws(params, states, prompt), self.laws(reference, states, prompt)

    def drawing_denoiser(self, params: Params, reference: Params, prompt: jax.Array) -> Denoiser:
        """The policy, and the reference where its steps end."""

        def denoise(x: jax.Array, level: Level) -> Prediction:
            rest = level.sigma <= self.levels.sigma[self.acting]
            chosen = jax.tree.map(lambda learned, fixed: jnp.where(rest, fixed, learned), params, reference)
            return self.denoiser(chosen, prompt)(x, level)

        return denoise

    @functools.cached_property
    def plain(self) -> Any:
        """(reference, index, prompt) -> (samples of the reference (b, …), rewards (b, rewards)), compiled once."""

        def draw(reference: Params, index: jax.Array, prompt: jax.Array) -> tuple[jax.Array, jax.Array]:
            _, images = self.draw(_key(), reference, reference, index, prompt)
            return images, self.score(images, prompt)

        return devices.jit(draw)

    @functools.cached_property
    def compared(self) -> Any:
        """(params, reference, index, prompt) -> (samples of a policy, rewards, KL of each trajectory (b,)), compiled
        once.
        """

        def draw(
            params: Params, reference: Params, index: jax.Array, prompt: jax.Array
        ) -> tuple[jax.Array, jax.Array, jax.Array]:
            states, images = self.draw(_key(), params, reference, index, prompt)
            law, other = self.laws_of_both(params, reference, states, prompt)
            return images, self.score(images, prompt), law.kl(other).sum(1)

        return devices.jit(draw)

    def scale(self, reward: str, count: int) -> Normaliser:
        """Mean and deviation of a reward of so many samples of the reference."""
        index = np.arange(APART, APART + count, dtype=np.int32)
        _, scores = self.plain(self.reference, index, self.prompt(index))
        values = np.asarray(scores)[:, self.rewards.index(reward)]
        return Normaliser(np.float32(values.mean()), np.float32(values.std()))


def base(config: Config) -> Model:
    """The network of digits, which is told no label."""
    if not config.networks:
        return _without_network((8, 8, 1), ema=config.base.ema)
    return image_training.unet(config.base, schedules.flow(), parameterization.flow())


def train_base(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The reference of digits."""
    data = image_training.digits_batch(judges.split())
    unlabelled = np.full_like(data.condition[0], NO_LABEL)
    batch = type(data)(clean=data.clean, condition=(unlabelled,))
    image_training.train(config.base, base(config), batch, folder.inside(BASE), progress, seeds=[BASE_SEED])


def of_digits(config: Config, folder: RunFolder) -> RewardedTask:
    """One network of digits with two rewards."""
    model = base(config)

    def score(images: jax.Array, prompt: jax.Array) -> jax.Array:
        return jnp.stack([judges.log_probabilities(images)[:, config.digit], ink(images)], axis=1)

    reference = image_training.averaged(model, folder.inside(BASE), BASE_SEED)
    levels = grids.trailing(model.schedule, config.digits.steps)
    return RewardedTask(
        (DIGIT, INK), model, reference, np.full((1,), NO_LABEL, np.int32), 1, levels, config.digits.acting, score
    )


def of_scenes(config: Config) -> RewardedTask:
    """Scenes of two red circles; prompts that no policy learns from follow as many that are learned."""
    attributes = two_red_circles(2 * config.prompts)
    if config.networks:
        trained, _ = published.read(FOLDER / "shapes.safetensors")
        model, reference = trained.model, trained.params["network"]
        words = encoded_captions.frozen(captions.write(attributes), Progress(quiet=True)).rows(
            np.arange(len(attributes))
        )
    else:
        model = _without_network(networks.SHAPE)
        reference, words = model.init(jax.random.key(0)), np.zeros(len(attributes), np.float32)
    levels = grids.trailing(model.schedule, config.scenes.steps)
    adapted = (config.rank, TEXT_PATHS) if config.networks else None
    score = functools.partial(exactly, attributes)
    return RewardedTask(
        (SCENES,), model, reference, words, config.prompts, levels, config.scenes.acting, score, attributes, adapted
    )


@functools.lru_cache(maxsize=1)  # what training compiles serves the judgement too
def tasks(config: Config, folder: RunFolder) -> dict[str, RewardedTask]:
    """By reward; the reference of digits has been trained."""
    return {reward: task for task in (of_digits(config, folder), of_scenes(config)) for reward in task.rewards}


def two_red_circles(count: int) -> np.ndarray:
    """(count, 3, 4) attributes of the first of 24 scenes of two red circles, all different; no training picture shows a
    red circle.
    """
    pairs, sizes = list(itertools.combinations(range(4), 2)), list(itertools.product(range(2), repeat=2))
    combinations = list(itertools.product(pairs, sizes))
    attributes = np.full((count, shapes.MOST_OBJECTS, 4), shapes.ABSENT, np.int32)
    for row in range(count):
        places, radii = combinations[7 * row % len(combinations)]
        attributes[row, :2] = [(*RED_CIRCLE, size, position) for size, position in zip(radii, places, strict=True)]
    return attributes


def scaled(params: Params, x: jax.Array, t: jax.Array, words: jax.Array) -> jax.Array:
    """What stands for a network where none is wanted: x times a number."""
    return params["scale"] * x


def ink(images: jax.Array) -> jax.Array:
    """(b,) the share of ink of pictures (b, h, w, 1): 0 for empty ones, 1 for full ones."""
    return jnp.mean((jnp.clip(images, -1.0, 1.0) + 1) / 2, axis=(1, 2, 3))


def exactly(attributes: np.ndarray, images: jax.Array, prompt: jax.Array) -> jax.Array:
    """(b, 1) 1 where the oracle reads exactly what the prompt asks for, else 0. The oracle is no program of JAX, so it
    runs on the host.
    """

    def read(images: Any, prompt: Any) -> np.ndarray:
        reading = shapes_oracle.read(np.asarray(images))
        return np.all(reading == attributes[np.asarray(prompt)], axis=(1, 2)).astype(np.float32)

    return jax.pure_callback(read, jax.ShapeDtypeStruct(images.shape[:1], jnp.float32), images, prompt)[:, None]


def _without_network(shape: tuple[int, ...], **fields: Any) -> Model:
    return Model(
        scaled, lambda key: {"scale": jnp.zeros(())}, schedules.flow(), parameterization.flow(), shape, **fields
    )


def _key() -> jax.Array:
    return jax.random.fold_in(jax.random.key(0), DRAWN)
