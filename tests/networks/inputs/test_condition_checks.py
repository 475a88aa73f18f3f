"""What is done to numbers that a network is told; test_dit.py and test_conditioning.py hold what a network does with
them.
"""

import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.networks.inputs import condition_checks
from tests.tables import table

KINDS = (
    (networks.GuidanceScale, condition_checks.checked_scale, 4),
    (networks.EndTime, condition_checks.checked_end_time, -1),
)


@table("record, check, one", KINDS)
def test_a_condition_is_one_number_for_each_sample_in_at_least_float32(record, check, one):
    for value, expected in (
        (3.5, [3.5] * 2),
        (one, [one] * 2),
        (np.array([1, 7]), [1.0, 7.0]),
        (np.array([1.5, 2.0], np.float16), [1.5, 2.0]),
    ):
        checked = check(record(value), True, 2)
        assert checked.dtype == jnp.float32 and checked.tolist() == expected
    assert check(None, False, 2) is None
