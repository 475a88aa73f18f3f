"""The committed networks of text-to-image with what judges their pictures: captions, real pictures, and who tells
whether a caption is met.

Scenes are asked for by captions with combinations that no training picture shows. Drawings are asked for by captions of
training which chose nothing before: of concepts that the network has never seen it meets few captions with guidance or
without, so that a loss could not be seen.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from experiments.diffusion import captioned_emoji, encoded_captions, few_evaluations, scenes, text_to_image
from experiments.diffusion.encoded_captions import Encoded
from experiments.diffusion.few_step_text.config import EMOJI, SHAPES, Config, Guiding
from experiments.diffusion.text_to_image import drawings as emoji_sets
from experiments.diffusion.text_to_image import sets
from experiments.tasks import rendering, shapes, shapes_oracle
from gendiff.commands.images import image_features
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.commands.images.image_coding import Coder
from gendiff.commands.images.image_features import Judging
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import networks, published
from gendiff.commands.text_to_image.networks import Normalisation, Trained
from gendiff.commands.trained_networks import FOLDER
from gendiff.core.types import Params
from gendiff.diffusion import grids
from gendiff.diffusion.types import Level
from gendiff.runs.progress import Progress

REAL = 2
"""The stream of real scenes, apart from those of training and of prompts."""
CANDIDATES = 32
"""Drawings among which the right one is looked for."""
ADHERES = {SHAPES: "show exactly what was asked for", EMOJI: f"are most like their own drawing among {CANDIDATES}"}
"""What it means of each network's pictures to show their caption."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One network, what it is asked for, and what is measured of its pictures.

    differentiable: the model with gradients that a CPU computes fast inside of a loop. two_times: the model with a
        second time.
    captions: those that are judged. others: those that levels are learned from. taught: so many of the network's
    training, none of which is judged.
    decode: what the network draws (n, h, w, c) -> pictures (n, h, w, 3). adherence: pictures -> (n,) 1 where the
        caption is met.
    real, floor: features of real pictures, and of others that are measured as if they were drawn.
    mean: (h, w, 3) of real pictures, pixel by pixel.
    resolution, norm: of `grids.resolved`.
    """

    name: str
    model: Model
    differentiable: Model
    two_times: Model
    params: Params
    guiding: Guiding
    captions: tuple[str, ...]
    others: tuple[str, ...]
    taught: Callable[[int], tuple[str, ...]]
    decode: Callable[[np.ndarray], np.ndarray]
    adherence: Callable[[np.ndarray], np.ndarray]
    real: np.ndarray
    floor: np.ndarray
    mean: np.ndarray
    resolution: float
    norm: float

    def resolved(self, steps: int) -> Level:
        """The grid of `grids.resolved` for what this network draws."""
        return grids.resolved(self.model.schedule, steps, resolution=self.resolution, norm=self.norm)

    def example_rows(self, count: int) -> np.ndarray:
        """Which of the captions figures show."""
        return emoji_sets.shown_rows(len(self.captions), count)


def opened(config: Config, name: str, progress: Progress) -> Subject:
    """A network of the configuration, ready to draw. Raises as `published.read` does."""
    trained = _fresh(name) if config.fresh else published.read(FOLDER / f"{name}{published.SUFFIX}")[0]
    return _of_scenes(config, trained) if name == SHAPES else _of_drawings(config, trained, progress)


def measured(features: Judging, images: np.ndarray) -> np.ndarray:
    """(n, d) features of pictures (n, h, w, 3), which are clipped and rounded as a screen would."""
    return image_features.of_drawn(image_features.function(FeatureOptions(features)), images)


@functools.lru_cache(maxsize=16)
def read(captions: tuple[str, ...]) -> Encoded:
    """Captions as the networks read them."""
    return encoded_captions.frozen(captions, Progress(quiet=True))


def _of_scenes(config: Config, trained: Trained) -> Subject:
    requested, others = (
        scenes.prompts(config.pictures, held_out=True),
        scenes.prompts(config.learn_batch, held_out=False),
    )
    scene_draws = shapes.draw(scenes.RECIPE, REAL, np.arange(config.real + config.pictures), unseen=True)
    images = rendering.render(scene_draws, scenes.SIDE)
    rows = measured(config.features, images)

    def adherence(images: np.ndarray) -> np.ndarray:
        return sets.measured(images, shapes_oracle.read(images), requested)["accuracy"]

    return Subject(
        name=SHAPES,
        model=trained.model,
        differentiable=networks.model(trained.config, trained.name, convolution="fast_backward"),
        two_times=networks.model(trained.config, trained.name, second_time=True),
        params=trained.params["network"],
        guiding=config.shapes,
        captions=requested.captions,
        others=others.captions,
        taught=scenes.taught,
        decode=lambda images: images,
        adherence=adherence,
        real=rows[: config.real],
        floor=rows[config.real :],
        mean=images[: config.real].mean(axis=0),
        resolution=2 / 255,
        norm=few_evaluations.norm(images),
    )


def _of_drawings(config: Config, trained: Trained, progress: Progress) -> Subject:
    drawings, normalisation, params = trained.config.drawings, trained.normalisation, trained.params["decoder"]
    resolution = trained.resolution
    assert normalisation is not None and resolution is not None  # of a network of latents that is committed
    training, held_out = captioned_emoji.load(drawings)

    def without(pictures: captioned_emoji.Pictures) -> captioned_emoji.Pictures:
        """The training drawings of other captions."""
        return training.rows([row for row, caption in enumerate(training.captions) if caption not in pictures.captions])

    choosing, *_ = emoji_sets.chosen(training.of_style(drawings.styles[0]), held_out, drawings.prompts)
    others, requested, _ = emoji_sets.chosen(without(choosing), held_out, config.pictures)
    coder = Coder(networks.autoencoder(drawings, normalisation), drawings.together, progress)
    likeness = emoji_sets.likeness("classifier" if config.features == "classifier" else "squares")
    first, written = training.images[: drawings.together], captioned_emoji.written(without(requested), drawings)
    return Subject(
        name=EMOJI,
        model=trained.model,
        differentiable=networks.model(trained.config, trained.name, convolution="fast_backward"),
        two_times=networks.model(trained.config, trained.name, second_time=True),
        params=trained.params["network"],
        guiding=config.emoji,
        captions=requested.captions,
        others=others.rows(emoji_sets.shown_rows(len(others), config.learn_batch)).captions,
        taught=lambda count: tuple(itertools.islice(itertools.cycle(written), count)),
        decode=functools.partial(coder.decode, params),
        adherence=lambda images: emoji_sets.retrieved(
            images, requested.images, min(CANDIDATES, len(requested)), likeness
        ),
        real=measured(config.features, training.images[: config.real]),
        floor=measured(config.features, held_out.images[: config.pictures]),
        mean=training.images.mean(axis=0),
        resolution=resolution,
        norm=few_evaluations.norm(coder.encode(params, first)[0]),
    )


def _fresh(name: str) -> Trained:
    """A small network that was never trained."""
    config, kind = text_to_image.SMOKE, published.MODELS[name]
    normalisation = Normalisation(1.0, 0.0, 0.1) if kind == networks.EMOJI else None
    trained, key = Trained(config, kind, {}, normalisation), jax.random.key(0)
    trained.params["network"] = trained.model.init(key)
    if normalisation is not None:
        trained.params["decoder"] = trained.init_autoencoder(jax.random.fold_in(key, 1))
    return trained
