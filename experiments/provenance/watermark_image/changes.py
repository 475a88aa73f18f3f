"""What happens to a picture on its way: noise, blur, crops, JPEG and fewer levels. Pictures are stored with 8 bits
before and after.
"""

import functools
import io
from collections.abc import Callable

import numpy as np
import scipy

from experiments.provenance.watermark_image.config import Config
from gendiff.runs.reporting.figures import to_pixels
from gendiff.runs.reporting.intervals import SEED

Change = Callable[[np.ndarray], np.ndarray]
UNCHANGED = "unchanged"


def stored(images: np.ndarray) -> np.ndarray:
    """Pictures (n, h, w, 1) in [-1, 1] as a file of 8 bits gives them back."""
    return to_pixels(images).astype(np.float32) / 127.5 - 1


def changes(config: Config) -> dict[str, Change]:
    """Every change by its name, from stored pictures to stored pictures or parts; of each kind the mildest first."""
    by_kind: dict[str, Change] = {UNCHANGED: lambda images: images}
    by_kind |= {f"noise {std:g}": functools.partial(_noisy, std) for std in config.noise}
    by_kind |= {f"blur {std:g}": functools.partial(_blurred, std) for std in config.blurs}
    by_kind |= {f"crop {share:g}": functools.partial(_cropped, share) for share in config.crops}
    by_kind |= {f"JPEG {quality}": functools.partial(_jpeg, quality) for quality in config.qualities}
    by_kind |= {f"{levels} levels": functools.partial(_requantised, levels) for levels in config.levels}
    by_kind |= {f"enlarged {share:g}": functools.partial(_enlarged, share) for share in config.crops}
    return {name: functools.partial(_applied, change) for name, change in by_kind.items()}


def mildest(config: Config) -> tuple[str, ...]:
    """Those of which something is claimed: no change, and the first of each kind whose place in the picture stays."""
    first = f"noise {config.noise[0]:g}", f"blur {config.blurs[0]:g}", f"crop {config.crops[0]:g}"
    return UNCHANGED, *first, f"JPEG {config.qualities[0]}", f"{config.levels[0]} levels"


def _applied(change: Change, images: np.ndarray) -> np.ndarray:
    return stored(change(images))


def _noisy(std: float, images: np.ndarray) -> np.ndarray:
    return images + std * np.random.default_rng(SEED).standard_normal(images.shape)


def _blurred(std: float, images: np.ndarray) -> np.ndarray:
    return scipy.ndimage.gaussian_filter(images, (0, std, std, 0), mode="nearest")


def _inner(share: float, side: int) -> int:
    """An even number of pixels, since the network halves a side."""
    return max(2, 2 * round(side * share**0.5 / 2))


def _cropped(share: float, images: np.ndarray) -> np.ndarray:
    inner = _inner(share, images.shape[1])
    corners = np.random.default_rng(SEED).integers(0, images.shape[1] - inner, (len(images), 2), endpoint=True)
    rows = zip(images, corners, strict=True)
    return np.stack([image[row : row + inner, column : column + inner] for image, (row, column) in rows])


def _enlarged(share: float, images: np.ndarray) -> np.ndarray:
    from PIL import Image

    edge = (images.shape[1] - _inner(share, images.shape[1])) // 2
    middle = slice(edge, images.shape[1] - edge)
    inner = to_pixels(images[:, middle, middle])[..., 0]
    size = images.shape[2], images.shape[1]
    grown = [np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)) for picture in inner]
    return np.stack(grown)[..., None] / 127.5 - 1


def _jpeg(quality: int, images: np.ndarray) -> np.ndarray:
    from PIL import Image

    read = []
    for picture in to_pixels(images)[..., 0]:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="JPEG", quality=quality)
        read.append(np.asarray(Image.open(file)))
    return np.stack(read)[..., None] / 127.5 - 1


def _requantised(levels: int, images: np.ndarray) -> np.ndarray:
    return np.round((images + 1) / 2 * (levels - 1)) / (levels - 1) * 2 - 1
