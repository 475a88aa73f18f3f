import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import layers
from gendiff.networks.layers.convolution import Convolution
from gendiff.runs import devices
from gendiff.weights import quantised
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.tables import table

UNET = networks.UNet(channels=(8, 16), blocks=1, attention=(8,), middle_attention=False, head_size=4, groups=4)
DIT = networks.DiT(patch=1, width=64, depth=1, heads=2)
QUICKLY = {"xla_backend_optimization_level": 0}


# from 16x16 pixels on oneDNN takes the products of the DiT
@pytest.mark.parametrize(
    ("network", "shape"), [pytest.param(UNET, (2, 8, 8, 3), marks=pytest.mark.slow), (DIT, (2, 16, 16, 3))]
)
def test_what_is_compiled_with_the_options_computes_the_same(network, shape):
    x, t = np.random.default_rng(0).normal(size=shape).astype(np.float32), np.array([3.0, 700.0], np.float32)
    params = random_params(network, x, t)

    def value(params):
        output = networks.pure(network)(params, x, t)
        return jnp.mean(jnp.square(output)), output

    both = jax.jit(jax.value_and_grad(value, has_aux=True)).lower(params)
    chosen, plain = (jax.device_get(both.compile(options)(params)) for options in (devices.compiler_options(), QUICKLY))
    assert np.abs(plain[0][1]).max() > 0.1
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(b).max())), chosen, plain
    )


def gradients(activations, kernels, x):
    """Of each activation of a linear layer, of networks side by side and of one. x: (rows, in). kernels: (networks, in,
    out) by name.
    """

    def gradient(activation, kernel):
        return jax.grad(lambda kernel: jnp.sum(activation(x @ kernel) ** 2))(kernel)

    return {
        name: (
            jax.vmap(lambda kernel, gradient=gradient, name=name: gradient(activations[name], kernel))(kernel[:-1]),
            gradient(activations[name], kernel[-1]),
        )
        for name, kernel in kernels.items()
    }


def test_activations_of_linear_layers_that_onednn_takes_have_their_own_gradients():
    """jaxlib 0.12 hands the activated numbers to whoever reads the product beneath, unless the network keeps the two
    apart.
    """
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(128, 256)), jnp.float32)
    kernels = {name: jnp.asarray(rng.normal(size=(3, 256, 256)) / 16, jnp.float32) for name in layers.ACTIVATIONS}
    gradient = functools.partial(gradients, layers.ACTIVATIONS)
    chosen, plain = (
        jax.jit(gradient, compiler_options=devices.compiler_options())(kernels, x),
        quickly(gradient)(kernels, x),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), chosen, plain)


@table(("release", "machine"), [("0.9.2", "x86_64"), ("0.13.0", "x86_64"), ("1.0.0", "x86_64"), ("0.12.0", "aarch64")])
def test_no_option_is_given_to_a_release_or_processor_that_was_not_tried(monkeypatch, release, machine):
    monkeypatch.setattr(jax, "__version__", release)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert devices.compiler_options() == {}


def test_libraries_of_pictures_are_left_out_where_asked():
    assert devices.compiler_options(libraries=False).keys() <= {"xla_cpu_scheduler_type"}


def test_optimisations_are_left_out_inside_of_a_smoke_run_alone(monkeypatch):
    def without():
        return jax.config.read("jax_disable_most_optimizations")

    def fails():
        raise RuntimeError("no such platform")

    before = without()
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        with devices.compiled_quickly(False):
            assert not without()
        with pytest.raises(KeyError), devices.compiled_quickly():
            assert without()
            raise KeyError
        for backend in (fails, lambda: "gpu"):
            monkeypatch.setattr(jax, "default_backend", backend)
            with devices.compiled_quickly():
                assert not without()
        assert not without()
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def test_packed_convolutions_are_unpacked_one_after_the_other_also_inside_of_a_loop():
    """Else the compiler unpacks all of them before the loop, and nothing is saved."""
    layers, width = 4, 32
    params = {
        f"layer_{number}": {"kernel": np.ones((3, 3, width, width), np.float32), "bias": np.zeros(width)}
        for number in range(layers)
    }
    packing = quantised.linear(quantised.int8(), convolutions=True)
    shapes = jax.eval_shape(lambda params: quantised.quantise(params, packing), params)

    def many(params, x):
        def step(x, _):
            for layer in params.values():
                x = Convolution(width).apply({"params": layer}, x)
            return x, None

        return jax.lax.scan(step, x, None, length=2)[0]

    program = jax.jit(
        many, compiler_options=devices.compiler_options(libraries=devices.libraries_suit("float32", "int8"))
    )
    memory = (
        program.lower(shapes, jax.ShapeDtypeStruct((1, 2, 2, width), np.dtype("float32"))).compile().memory_analysis()
    )
    assert memory.temp_size_in_bytes < 2 * 4 * 9 * width**2


@pytest.mark.parametrize("optimised", [True, False])
def test_a_program_that_was_compiled_quickly_is_not_taken_afterwards(optimised):
    """A whole run after a smoke run in one process would be slow, and its bits would differ."""
    traced = []
    function = jax.jit(lambda x: traced.append(x) or x + 1)
    before = jax.config.read("jax_disable_most_optimizations")
    try:
        jax.config.update("jax_disable_most_optimizations", not optimised)
        for _ in range(2):
            with devices.compiled_quickly():
                function(1.0)
        function(1.0)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    assert len(traced) == (3 if optimised else 1)
