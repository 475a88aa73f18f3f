import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks


def test_three_layers_with_silu_act_on_each_token_by_itself():
    tokens = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), jnp.float32)
    network = networks.Projector(channels=5, width=6)
    params = networks.init(network, jax.random.key(0), tokens)
    y = np.asarray(tokens)
    for layer in ("hidden_0", "hidden_1", "output"):
        y = y @ np.asarray(params[layer]["kernel"]) + np.asarray(params[layer]["bias"])
        y = y if layer == "output" else y / (1 + np.exp(-y))
    np.testing.assert_allclose(networks.pure(network)(params, tokens), y, rtol=1e-4, atol=1e-5)
    assert networks.pure(network)(params, tokens.astype(jnp.bfloat16)).dtype == jnp.float32


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="channels = 0"):
        networks.init(networks.Projector(channels=0), jax.random.key(0), jnp.ones((1, 2)))
