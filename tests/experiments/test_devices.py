import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import devices
from gendiff import networks


def test_what_is_compiled_with_the_options_computes_the_same():
    network = networks.UNet(channels=(8, 16), blocks=1, attention=(8,), head_size=4, groups=4)
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([3.0, 700.0])
    params = jax.tree.map(lambda leaf: leaf + 0.1, networks.init(network, jax.random.key(1), x, t))  # the output layer begins at 0

    def value(params: dict) -> tuple[jax.Array, jax.Array]:
        output = networks.pure(network)(params, x, t)
        return jnp.mean(jnp.square(output)), output

    both = jax.value_and_grad(value, has_aux=True)
    chosen, plain = jax.jit(both, compiler_options=devices.compiler_options())(params), jax.jit(both)(params)
    assert float(jnp.abs(plain[0][1]).max()) > 0.1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(jnp.abs(b).max()))), chosen, plain)


@pytest.mark.parametrize("release", ["0.9.2", "0.13.0", "1.0.0"])
def test_no_option_is_given_to_a_release_that_was_not_tried(monkeypatch: pytest.MonkeyPatch, release: str):
    monkeypatch.setattr(jax, "__version__", release)
    assert devices.compiler_options() == {}


def test_no_option_is_given_where_the_processor_is_not_x86(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert devices.compiler_options() == {}
