"""A second time as a condition: what a network is told that answers for a whole step, from its time to this one."""

from typing import Any

import jax

from gendiff.core import checks, records
from gendiff.networks.layers import image_inputs


@records.record
class SecondTime:
    """Where a step ends that begins at the network's time. The network answers at once what many small steps would add up to.

    Args:
        t: (b,) or () numbers on the scale of the network's time, one per sample or one for all.

    References:
        Frans et al., 2024, section 3; Geng et al., 2025, section 4.1 (from memory).
    """

    t: Any


def checked_second_time(second: SecondTime | None, wanted: bool, batch: int) -> jax.Array | None:
    """Return the second time of each sample (b,), if the network wants one.

    Raises:
        TypeError: for a time that holds no numbers.
        ValueError: for another shape, a concrete number that is not finite, a second time for a network without, and none for one with.
    """
    if wanted != (second is not None):
        if wanted:
            raise ValueError("the network is told a second time: pass networks.SecondTime(t), or draw with distillation.two_times")
        raise ValueError("a second time was given to a network without: build it with second_time=True, or pass none")
    if second is None:
        return None
    numbers = image_inputs.number_per_sample("the second time", second.t, batch)
    checks.finite("the second time", second.t)
    return numbers
