"""A transformer of digits in each format: samples from the same noise, and their Fréchet distance from held-out digits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.image_judge import DigitsJudge
from experiments.language.quantise.config import Config
from experiments.language.quantise.formats import FLOAT32, INT4, INT8, formats
from gendiff import networks
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

COMPARED = (FLOAT32, INT8, INT4)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed."""
    image_training.per_seed(model)(config, folder, progress)


def model(config: Config) -> Model:
    """A class-conditional DiT of 16 tokens."""
    network = networks.DiT(patch=2, width=config.width, depth=config.depth, heads=4, num_classes=digits.CLASSES)
    of = (8, 8, 1), digits.CLASSES, digits.LEVELS
    return Model(networks.pure(network), _init(network), schedules.flow(), parameterization.flow(), *of, ema=config.ema)


def distances(config: Config, folder: RunFolder, progress: Progress) -> dict[str, list[np.ndarray]]:
    """Of each format: for each seed the Fréchet distances of draws, in floors."""
    of = model(config)
    judge = DigitsJudge(config.draws, config.draw_size)
    draw = image_draws.Draws(of, config.sampling_steps, config.together, progress, libraries=False)
    labels = np.arange(config.samples) % digits.CLASSES
    ways, found = formats(tables=False), {name: list[np.ndarray]() for name in COMPARED}
    for seed in config.seeds:
        params = image_training.averaged(of, folder, seed)
        for name in COMPARED:
            images = draw(f"digits, {name}, seed {seed}", ways[name](params), config.samples)
            found[name].append(judge.measure(images, labels).distances / float(np.mean(judge.floor)))
    return found


@functools.lru_cache  # one object, so that all trainings share a compiled start
def _init(network: networks.DiT) -> functools.partial[Params]:
    return functools.partial(_start, network)


def _start(network: networks.DiT, key: jax.Array) -> Params:
    return networks.init(network, key, jnp.zeros((1, 8, 8, 1)), jnp.zeros((1,)), jnp.zeros((1,), jnp.int32))
