"""What is done to a guidance scale before a network is told it; test_dit.py and test_conditioning.py hold what a network does with it."""

import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.networks import guidance_scale


def test_a_scale_is_one_number_for_each_sample_in_at_least_float32():
    for scale, wanted in ((3.5, [3.5] * 2), (4, [4.0] * 2), (np.array([1, 7]), [1.0, 7.0]), (np.array([1.5, 2.0], np.float16), [1.5, 2.0])):
        checked = guidance_scale.checked_scale(networks.GuidanceScale(scale), True, 2)
        assert checked.dtype == jnp.float32 and checked.tolist() == wanted
    assert guidance_scale.checked_scale(None, False, 2) is None
