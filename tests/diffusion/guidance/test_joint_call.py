"""One network call for several conditions."""

import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, oracles, parameterization
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.types import Level

LEVEL = Level(7.0, 0.6, 0.8)


def network(params, x, t, label):
    return jnp.tanh(params * x + 0.1 * label.astype(x.dtype)[:, None] + 0.01 * t[:, None])


def three(predict=network):
    given = denoiser.from_network(predict, jnp.asarray(0.5), parameterization.velocity(), jnp.array([0, 1, 2], jnp.int32))
    return given, given.with_condition(NO_LABEL), given.with_condition(jnp.array([5, 4, 3], jnp.int32))


def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)


def test_one_pass_of_three_answers_what_three_passes_answer():
    seen = []

    def counting(params, x, t, label):
        seen.append(x.shape[0])
        return network(params, x, t, label)

    level = Level(7.0, jnp.array([0.6, 0.8, 1.0]), jnp.array([0.8, 0.6, 0.0]))
    for one, alone in zip(JointCall.checked(*three(counting), batched=True)(x(), level), three(), strict=True):
        np.testing.assert_allclose(one.clean, alone(x(), level).clean, atol=1e-6)
        np.testing.assert_allclose(one.noise, alone(x(), level).noise, atol=1e-6)
    assert seen == [9]


def test_one_pass_of_different_networks_is_refused():
    given, free, _ = three()
    with pytest.raises(TypeError, match="batched=True needs denoisers made by"):
        JointCall.checked(given, free, oracles.gaussian(1.0), batched=True)
    with pytest.raises(TypeError, match="batched=True needs denoisers of one network"):
        JointCall.checked(given, free, three(lambda *a: x())[0], batched=True)
    with pytest.raises(TypeError, match="conditions of one structure, got 1 and 2"):
        JointCall.checked(given, given.with_condition(1, 2), batched=True)
