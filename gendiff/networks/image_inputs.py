"""What every network of images demands of its input."""

from typing import Any

import numpy as np

from gendiff.core import checks


def check(x: Any, t: Any, factor: int, what: str) -> None:
    """Refuse what is no batch of images with one time per sample.

    Args:
        x: should be floating, (b, h, w, c).
        t: should be (b,).
        factor: what must divide h and w.
        what: the cause of the factor, for the message.

    Raises:
        TypeError: unless x is floating.
        ValueError: unless the shapes are those.
    """
    checks.floating("x", x)
    if x.ndim != 4:
        raise ValueError(f"x has shape {x.shape}: images are (batch, height, width, channels)")
    _, height, width, channels = x.shape
    likely = height <= 4 < channels and width == channels
    hint = "; it looks channels-first: use numpy.moveaxis(x, 1, -1)" if likely or height <= 4 < width else ""
    if likely or height % factor or width % factor:
        rule = f"height and width must be multiples of {factor} ({what})"
        raise ValueError(f"x has shape {x.shape}, read as (batch, height, width, channels): {rule}{hint}")
    if np.shape(t) != x.shape[:1]:
        raise ValueError(f"t has shape {np.shape(t)}: one time per sample, {x.shape[:1]}, is needed")
