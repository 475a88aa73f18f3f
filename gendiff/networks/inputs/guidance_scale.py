"""The guidance scale as a condition: what a network is told that was distilled from guided predictions."""

from typing import Any

import jax

from gendiff.core import checks, records
from gendiff.networks.layers import image_inputs


@records.record
class GuidanceScale:
    """How strongly the prediction shall follow its other conditions. The network answers at once what guidance makes of two answers.

    Args:
        scale: (b,) or () numbers, at least 0, one per sample or one for all. FLUX.1 [dev] was trained with scales of about 1 to 10.

    References:
        Meng et al., 2023, section 3.1 (from memory).
    """

    scale: Any


def checked_scale(guidance: GuidanceScale | None, wanted: bool, batch: int) -> jax.Array | None:
    """Return the scale of each sample (b,), if the network wants one.

    Raises:
        TypeError: for a scale that holds no numbers.
        ValueError: for another shape, a concrete number below 0, a scale for a network without, and none for one with.
    """
    if wanted != (guidance is not None):
        if wanted:
            raise ValueError("the network is told the guidance scale: pass networks.GuidanceScale(scale)")
        raise ValueError("a guidance scale was given to a network without: build it with guidance=True, or guide its predictions")
    if guidance is None:
        return None
    numbers = image_inputs.number_per_sample("scale", guidance.scale, batch)
    checks.in_range("scale", guidance.scale, 0.0, float("inf"), open_high=True)
    return numbers
