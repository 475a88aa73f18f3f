"""One network call for several conditions."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, oracles, parameterization
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.types import Level

LEVEL = Level(7.0, 0.6, 0.8)


def network(params, x, t, label):
    return jnp.tanh(params * x + 0.1 * label.astype(x.dtype)[:, None] + 0.01 * t[:, None])


def build(predict=network, kind=parameterization.velocity, params=0.5):
    return denoiser.from_network(predict, jnp.asarray(params), kind(), jnp.array([0, 1, 2], jnp.int32))


def test_the_first_ones_parameters_serve_all():
    given = build()
    other = records.replace(given, params=jnp.asarray(9.0)).with_condition(NO_LABEL)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    _, free = JointCall.checked(given, other, batched=True)(x, LEVEL)
    np.testing.assert_allclose(free.clean, given.with_condition(NO_LABEL)(x, LEVEL).clean, atol=1e-6)


@pytest.mark.parametrize(
    ("stranger", "message"),
    [
        (oracles.gaussian(1.0), "batched=True needs denoisers made by"),
        (build(lambda params, x, t, label: x), "batched=True needs denoisers of one network"),
        (build(kind=parameterization.flow), "batched=True needs denoisers of one network"),
        (build().with_condition(1, 2), "conditions of one structure, got 1 and 2"),
    ],
)
def test_one_pass_of_different_networks_is_refused(stranger, message):
    for denoisers in ((build(), stranger), (build(), build(), stranger)):
        with pytest.raises(TypeError, match=message):
            JointCall.checked(*denoisers, batched=True)
