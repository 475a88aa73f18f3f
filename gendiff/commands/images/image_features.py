"""The feature functions that the command line names, and errors about pictures in its words."""

import contextlib
import functools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.images import feature_options
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.core import npz
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Params
from gendiff.data import scaling, sources
from gendiff.data.images.random_access import Source
from gendiff.diffusion.learned.latent import Maps
from gendiff.metrics import features, frechet, statistics_files
from gendiff.metrics.features import Features
from gendiff.metrics.frechet import FittedGaussian
from gendiff.weights import efficientnet_lite0, files, torch_archive, torchvision_inception

TOGETHER = 500
"""Images whose features are computed in one call."""
SEED = 0
"""Of the random convolutions."""
SIDE = 128
"""Pixels at which the classifier sees images: among drawings of 32 pixels as good as 224, in 0.4 of the time."""
BATCH = 50
"""Images that the classifier sees in one call, which takes 0.5 GB."""
LAYER = "block_2"
"""Of the classifier, whose map has a quarter of the side of a picture."""
Judging: TypeAlias = Literal["classifier", "random-convolutions"]
"""The features by which a study of images judges."""
_OPTIONS = {
    r'on_bad="skip"': "--on-bad-image skip",
    r"background=\((\d+), (\d+), (\d+)\)": r"--background \1 \2 \3",
    r"pass size= ": "pass --size N ",
    r"mels = ": "--size ",
    r"frames = ": "--seconds: frames = ",
    r'conditional="none"': "--conditional none",
    r"held_out = ": "--held-out ",
    r"change the share": "change --held-out",
}
"""Patterns of the library's messages -> what a user types."""


def function(options: FeatureOptions) -> Features:
    """uint8 images (n, h, w, c) -> features (n, d). ConfigError for weights that are missing or not wanted."""
    feature_options.check(options)
    if options.features == "classifier":
        return classifier()
    if options.inception_weights is None:
        plain = features.pixels if options.features == "pixels" else features.random_convolutions(SEED)
        return lambda images: plain(np.asarray(scaling.to_unit(images, 256)))
    network = networks.Inception("fid")
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), jnp.zeros((1, 299, 299, 3))))
    file = Path(options.inception_weights)
    stored = (torch_archive if file.suffix.lower() in files.PICKLED else files).load(file)
    params = torchvision_inception.params(stored, like)
    return features.inception(networks.pure(network), params, resize=options.resize)


@functools.cache
def classifier() -> Features:
    """uint8 images (n, h, w, c) -> the 1280 pooled features of EfficientNet-Lite0, resized as clean-fid does.

    ConfigError without its weights, with the command that installs them: nothing takes their place.
    """
    try:
        network, params = _classifier()
    except ImportError as error:
        raise ConfigError(f"{error}; --features random-convolutions needs nothing") from error
    predict, lite = networks.pure(network), efficientnet_lite0
    pooled = features.inception(
        lambda params, x: predict(params, x).features, params, size=SIDE, centre=lite.CENTRE, spread=lite.SPREAD
    )

    def measured(images: np.ndarray) -> np.ndarray:
        blank = np.zeros((-len(images) % BATCH, *images.shape[1:]), images.dtype)  # one program for any number
        return features.extract(pooled, np.concatenate([images, blank]), batch=BATCH)[: len(images)]

    return measured


@functools.cache  # one object, so that trainings by it share a compiled step
def maps() -> Maps:
    """Pictures (b, h, w, 3) in about [-1, 1] -> the map (b, h / 4, w / 4, 24) of a LAYER of EfficientNet-Lite0,
    differentiable. Sides are multiples of 32.

    ConfigError without its weights, with the command that installs them.
    """
    try:
        network, params = _classifier()
    except ImportError as error:
        raise ConfigError(str(error)) from error
    layer, lite = networks.with_intermediate(network, LAYER), efficientnet_lite0

    def measured(images: jax.Array) -> jax.Array:
        answer: jax.Array = layer(params, (127.5 * (images + 1) - lite.CENTRE) / lite.SPREAD)[1]
        return answer  # what comes after the layer is not compiled

    return measured


def _classifier() -> tuple[networks.EfficientNetLite, Params]:
    """The network with its weights. Raises as `efficientnet_lite0.params` does."""
    network = networks.EfficientNetLite()
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3))))
    return network, efficientnet_lite0.params(like)


def of_drawn(measured: Features, images: np.ndarray) -> np.ndarray:
    """(n, d) features of pictures (n, h, w, c) in about [-1, 1], which are clipped and rounded as a screen would."""
    rounded = np.asarray(scaling.from_unit(np.clip(images, -1.0, 1.0), 256))
    return features.extract(measured, rounded, batch=TOGETHER)


def fitted(name: str, measured: Features, images: Iterator[np.ndarray]) -> tuple[FittedGaussian, int]:
    """(the Gaussian of batches of uint8 images, how many they are), in memory of one batch.

    Raises DataError, name first, for fewer than two images.
    """
    state = None
    for batch in images:
        state = frechet.update(state, features.extract(measured, batch, batch=TOGETHER))
    if state is None or state.count < 2:
        raise DataError(
            f"{name}: a Fréchet distance needs at least 2 images, and here {'is 1' if state else 'are none'}"
        )
    return frechet.finish(state), state.count


def reference(
    path: Path, measured: Features, shape: tuple[int, ...], background: tuple[int, int, int] | None, on_bad: str
) -> tuple[FittedGaussian, int | None]:
    """(the Gaussian of a reference, how many images it stands for).

    path: an .npz of statistics (`mu`, `sigma`), which do not say of how many images, or of images (`arr_0`, uint8, or
    `images`); or pictures that `data.sources.open` takes, which are resized and cropped to `shape` (h, w, c).
    background, on_bad: of `data.sources.open`.
    """
    if path.suffix.lower() == ".npz":
        file = npz.existing(path, ".npz")
        with npz.guarded(file, lambda: zipfile.ZipFile(file)) as archive:
            names = npz.names(archive)
        if "mu" in names:
            return statistics_files.load(file), None
    if path.suffix.lower() == ".npz" and "images" not in names:
        images = statistics_files.read_batches(file, TOGETHER)
    else:
        height, width, channels = shape
        if height != width:
            raise ConfigError(
                f"--reference {path}: pictures are read as squares, and the samples have {height} × {width}; give an "
                ".npz"
            )
        mode = "L" if channels == 1 else "RGB"
        images = _batches(
            sources.open(path, size=height, mode=mode, background=background, on_bad=on_bad, conditional="none")
        )
    return fitted(str(path), measured, images)


def _batches(source: Source) -> Iterator[np.ndarray]:
    for begin in range(0, len(source), TOGETHER):
        yield np.stack([source.image(row) for row in range(begin, min(begin + TOGETHER, len(source)))])


@contextlib.contextmanager
def option_errors() -> Iterator[None]:
    """Within: errors of the library name options; a value out of range or a missing package is an error of usage."""
    try:
        yield
    except DataError as error:
        raise DataError(translated(error)) from error
    except (ValueError, ImportError) as error:
        raise ConfigError(translated(error)) from error


def translated(error: Exception | str) -> str:
    """The message with options in the place of arguments."""
    text = str(error)
    for theirs, ours in _OPTIONS.items():
        text = re.sub(theirs, ours, text)
    return text
