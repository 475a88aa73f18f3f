"""The numbers of the image-watermark experiment, and the network that they describe."""

import dataclasses
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np

from gendiff.commands.images import emoji_pictures, image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL
from gendiff.data import textures
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Positive, Several, Share
from gendiff.runs.reporting.figures import to_pixels
from gendiff.runs.run_folder import RunFolder

SIDE, SHRUNK = 32, 3
"""Pixels of a side of the pictures, and how many pixels of a photograph's side become one."""
SHAPE = (SIDE, SIDE, 1)
_Kept: TypeAlias = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Quality: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=95)]
_Levels: TypeAlias = Annotated[int, msgspec.Meta(ge=2, le=255)]


@dataclasses.dataclass(frozen=True)
class Config(image_training.SeededLearning):
    """The numbers that are turned."""

    train_steps: Count = 600
    """Optimizer steps."""
    optimizer: image_training.Optimizer = "muon"
    """adamw, or muon on matrices and kernels."""
    drop_condition: Share = 0.0
    """Nothing is dropped: pictures are learned and drawn without their class."""
    pictures: Annotated[int, msgspec.Meta(ge=64, le=5915)] = 5900
    """Training patches, at equal distances."""
    sampling_steps: Several = 20
    """DDIM steps of a draw, and of its inversion, evenly spaced in log-SNR."""
    received: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    """Standard deviation of the noise that the detector takes each picture to have gained; 0.05 is 6 grey levels."""
    marked: Several = 150
    """Pictures by each mark, and as many without."""
    set_size: Several = 300
    """Pictures of each set that is compared as a whole."""
    together: Count = 75
    """Pictures in one call of a program."""
    radius: Annotated[int, msgspec.Meta(ge=1, le=15)] = 4
    """Of Tree-Ring's disc, in cycles per picture."""
    bits: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    """Of the payload of Gaussian Shading."""
    strength: Positive = 0.06
    """Root mean square change of a pixel by the spread spectrum; pixels lie in [-1, 1]."""
    keys: Several = 999
    """Fresh keys behind each p-value."""
    permutations: Several = 199
    """Of the pictures of two sets, behind the p-value of their Fréchet distance."""
    noise: Distinct[Positive] = (0.1, 0.2, 0.4)
    """Standard deviation of added noise, mildest first as with all changes; 0.1 is the 0.05 of pixels in [0, 1]."""
    blurs: Distinct[Positive] = (0.5, 1.0)
    """Standard deviation of a Gaussian blur, in pixels."""
    crops: Distinct[_Kept] = (0.75, 0.5)
    """Share of the area that is cut out, at an offset that the detector is not told. "Enlarged" fills the frame with
    the middle instead.
    """
    qualities: Distinct[_Quality] = (90, 50, 25)
    """Of JPEG, by Pillow."""
    levels: Distinct[_Levels] = (32, 8)
    """Values of a pixel after requantisation, of 256."""
    strengths: Distinct[_Kept] = (0.1, 0.25, 0.5)
    """Shares of the steps that img2img runs, by DDPM and the same network."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""


def model(config: Config) -> Model:
    """The small U-Net of the digits, for patches, on the flow process."""
    settings: dict[str, Any] = {"shape": SHAPE, "num_classes": 1, "levels": 256, "convolution": "fast_backward"}
    return image_training.unet(config, schedules.flow(), parameterization.flow(), **settings)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed."""
    patches = grey(config.pictures)
    batch = Batch(clean=patches, condition=(np.full(len(patches), NO_LABEL, np.int32),))
    image_training.train(config, model(config), batch, folder, progress, seeds=config.seeds)


def check(config: Config) -> None:
    """ConfigError where the numbers do not fit each other."""
    image_training.check(config, images=config.pictures)
    image_training.check_side(config, "", SIDE)


def grey(count: int) -> np.ndarray:
    """(count, 32, 32, 1) patches of photographs and textures, shrunk, without colour, of 8 bits, in [-1, 1]."""
    patches, _ = textures.split(SIDE * SHRUNK)
    colours = emoji_pictures.images("pictures", patches, count)
    shrunk = colours.reshape(count, SIDE, SHRUNK, SIDE, SHRUNK, 3).mean((2, 4, 5))[..., None]
    return to_pixels(shrunk).astype(np.float32) / 127.5 - 1
