"""Digits: a diffusion network of handwritten ones before digits that are turned, inverted, printed, and no digits."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from experiments.edge.config import Config
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL, Params
from gendiff.data import digits, scaling
from gendiff.diffusion import elbo, parameterization, process, schedules
from gendiff.metrics import classifier_accuracy
from gendiff.runs import devices, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import intervals
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured

HELD_OUT, INVERTED, PRINTED, FAINT, BLANK, NOISE = "held out", "inverted", "printed", "half the ink", "blank", "noise"
ANGLES = (15, 30, 45, 60, 75, 90, 180)
TURNED = "turned by {}°"
FOLDER = "digits"
FACES = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral")
STYLES = ("", "-Bold", "-Oblique", "-Italic", "-BoldOblique", "-BoldItalic", "Bol", "Italic", "BolIta")
FIRST = 1e-3
"""Where on the path from clean to noise the bound begins."""
MIDDLE = (0.3, 0.7)
"""Between which places digits are denoised."""


def model(config: image_training.Recipe) -> Model:
    """The network, which learns the flow from digits to noise."""
    return image_training.unet(config, schedules.flow(), parameterization.flow())


def train(config: image_training.SeededLearning, folder: RunFolder, progress: Progress) -> None:
    """A network per seed."""
    progress.line("train on digits")
    data, inside = image_training.digits_batch(digits.load()), folder.inside(FOLDER)
    image_training.train(config, model(config), data, inside, progress, seeds=config.seeds)


def sets(count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 8, 8, 1) in [-1, 1] on the levels of the digits, and labels; those of no digit are NO_LABEL."""
    split = digits.load()
    images, labels = split.held_out_images[:count], split.held_out_labels[:count]
    turn = functools.partial(scipy.ndimage.rotate, images, axes=(1, 2), reshape=False, order=1, cval=-1.0)
    nothing, rng = np.full(len(images), NO_LABEL), np.random.default_rng(intervals.SEED)
    changed = {
        HELD_OUT: (images, labels),
        **{TURNED.format(angle): (turn(angle), labels) for angle in ANGLES},
        INVERTED: (-images, labels),
        PRINTED: printed(),
        FAINT: ((images - 1) / 2, labels),
        BLANK: (np.full_like(images, -1.0), nothing),
        NOISE: (rng.uniform(-1, 1, images.shape).astype(np.float32), nothing),
    }
    return {
        name: (np.asarray(scaling.round_to_levels(pictures, digits.LEVELS), np.float32), truth)
        for name, (pictures, truth) in changed.items()
    }


@functools.cache
def printed() -> tuple[np.ndarray, np.ndarray]:
    """Digits of Matplotlib's fonts as the handwritten ones were made: 32×32 bits, counted in blocks of 4×4."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder, images, labels = Path(matplotlib.get_data_path()) / "fonts" / "ttf", [], []
    files = (folder / f"{face}{style}.ttf" for face in FACES for style in STYLES)
    for file in (file for file in files if file.is_file()):
        font = ImageFont.truetype(str(file), 64)
        for digit in range(digits.CLASSES):
            left, top, right, bottom = font.getbbox(str(digit))
            glyph = Image.new("L", (int(right - left), int(bottom - top)))
            ImageDraw.Draw(glyph).text((-left, -top), str(digit), 255, font)
            width = max(1, min(32, round(32 * glyph.width / glyph.height)))
            sheet = Image.new("L", (32, 32))
            sheet.paste(glyph.resize((width, 32)), ((32 - width) // 2, 0))
            bits = np.asarray(sheet).reshape(8, 4, 8, 4) >= 128
            images.append(bits.sum((1, 3)))
            labels.append(digit)
    pixels = np.array(images, np.uint8)[..., None]
    return np.asarray(scaling.to_unit(pixels, digits.LEVELS)), np.array(labels, np.int32)


def read(config: Config, model: Model, params: Params, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bits per dimension at most, without a label; (n, 1 + classes) mean squared errors of denoising, without a
    label and under each, from the same noise.
    """
    programs = _programs(config, model)
    together, results = config.together, list[Any]()
    for first in range(0, len(images), together):
        rows = np.arange(first, first + together)
        chunk = images[rows % len(images)]  # one shape for all
        results.append([np.asarray(program(params, chunk, rows))[: len(images) - first] for program in programs])
    bits, errors = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return bits, errors


@functools.lru_cache(maxsize=1)
def _programs(config: Config, model: Model) -> tuple[Any, Any]:
    key, labels = jax.random.key(1), jnp.arange(NO_LABEL, digits.CLASSES)

    def bits(params: Params, images: jax.Array, rows: jax.Array) -> jax.Array:
        denoise = model.denoiser(params, jnp.full(len(images), NO_LABEL))
        options: dict[str, Any] = {"span": (FIRST, 1.0), "data_levels": digits.LEVELS, "draws": config.draws}
        return elbo.continuous(key, denoise, images, model.schedule, rows, **options).bits

    def errors(params: Params, images: jax.Array, rows: jax.Array) -> jax.Array:
        def at(number: jax.Array, u: jax.Array) -> jax.Array:
            noise = jax.random.normal(jax.random.fold_in(key, number), images.shape)
            level = model.schedule.at(u)
            noised = process.add_noise(images, noise, level)

            def under(label: jax.Array) -> jax.Array:
                clean = model.denoiser(params, jnp.full(len(images), label))(noised, level).clean
                return jnp.mean((clean - images) ** 2, axis=(1, 2, 3))

            return jax.lax.map(under, labels)

        levels = jnp.linspace(*MIDDLE, config.levels)
        return jax.lax.map(lambda pair: at(*pair), (jnp.arange(config.levels), levels)).mean(0).T

    return devices.jit(bits), devices.jit(errors)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Of every seed and set what the judge and the network take the pictures for, errors and bits."""
    split, trained, everything = digits.load(), model(config), sets(config.pictures)
    judge = classifier_accuracy.train(split.train_images, split.train_labels)
    for seed in config.seeds:
        params = training_loop.restore_ema(trained.init, folder.inside(FOLDER), seed=seed, decay=trained.ema)
        reference: Any = None
        for name, (images, labels) in everything.items():
            with progress.phase("digits", seed=seed):
                bits, errors = read(config, trained, params, images)
            reference = (bits, errors[:, 0]) if reference is None else reference
            measures: dict[str, Any] = {}
            if labels[0] != NO_LABEL:
                measures["right"] = intervals.share(errors[:, 1:].argmin(1) == labels)
                measures["judge"] = intervals.share(classifier_accuracy.correct(judge, images, labels))
            measures |= {"bits": intervals.interval(np.mean, bits), "error": intervals.interval(np.mean, errors[:, 0])}
            if name != HELD_OUT:
                pairs = {"by bits": (bits, reference[0]), "by error": (errors[:, 0], reference[1])}
                measures |= {key: intervals.interval(larger, *rows, resamples=200) for key, rows in pairs.items()}
            arrays: dict[str, Any] = {"images": images[:12]}
            if name == HELD_OUT or name in map(TURNED.format, ANGLES[:-1]):
                arrays["at"] = ("digits, turned", "network", 0 if name == HELD_OUT else int(name[10:-1]) // 15)
            yield Measured(name, measures, seed, len(images), "digits", arrays)


def larger(first: np.ndarray, second: np.ndarray) -> float:
    """The share of pairs in which the first is larger, with half of the ties: the area under the ROC curve."""
    ranks = np.searchsorted(np.sort(second), first, "left") + np.searchsorted(np.sort(second), first, "right")
    return float(ranks.mean() / (2 * len(second)))
