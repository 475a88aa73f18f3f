import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import convolution, fast

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(8, 8), (4, 6), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("strip", [4096, 8], ids=["whole", "strips"])
@pytest.mark.float64
def test_fast_backward_equals_the_plain_convolution_in_value_and_gradients(
    shape: tuple[int, int], stride: int, size: int, strip: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fast, "_STRIP", strip)
    x, kernel = jnp.asarray(RANDOM.normal(size=(3, *shape, 2))), jnp.asarray(RANDOM.normal(size=(size, size, 2, 5)))

    def all_of(implementation: str) -> tuple[jax.Array, ...]:
        def call(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return convolution.convolve(x, kernel, stride, implementation=implementation)

        value, back = jax.vjp(call, x, kernel)
        return value, *back(jnp.sin(jnp.arange(1.0, value.size + 1)).reshape(value.shape))

    for ours, plain in zip(all_of("fast_backward"), all_of("direct"), strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-12)


def test_the_gradients_of_fast_backward_are_convolutions_of_the_fast_layout():
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(convolution.convolve(x, kernel, implementation="fast_backward")))

    text = jax.jit(jax.grad(loss, (0, 1))).lower(x, kernel).as_text()
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(lines) == 3 and all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in lines)


def test_a_kernels_gradient_sums_strips_of_whole_rows_no_more_than_needed():
    sizes = {(16, 16, 16): 1, (128, 8, 8): 1, (16, 32, 32): 4, (16, 31, 31): 1, (10_000, 32, 32): 16}
    assert {size: fast._strips(*size) for size in sizes} == sizes


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("implementation", ["direct", "fast_backward"])
@pytest.mark.float64
def test_padding_says_how_many_zeros_stand_above_and_to_the_left(implementation: str, padding: int):
    x, kernel = jnp.asarray(RANDOM.normal(size=(2, 4, 6, 3))), jnp.asarray(RANDOM.normal(size=(3, 3, 3, 2)))
    around = ((0, 0), (padding, 2 - padding), (padding, 2 - padding), (0, 0))

    def call(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolution.convolve(x, kernel, 2, padding, implementation=implementation)

    def by_hand(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(jnp.pad(x, around), kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    for (ours, back), (wanted, back_by_hand) in [(jax.vjp(call, x, kernel), jax.vjp(by_hand, x, kernel))]:
        np.testing.assert_allclose(ours, wanted, atol=1e-12)
        for slope, other in zip(back(jnp.sin(wanted)), back_by_hand(jnp.sin(wanted)), strict=True):
            np.testing.assert_allclose(slope, other, atol=1e-12)


def test_a_padding_that_reaches_past_the_kernel_is_refused():
    with pytest.raises(ValueError, match="padding = 3 is outside"):
        convolution.convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), 2, 3)


def test_halve_undoes_double():
    x = jnp.asarray(RANDOM.normal(size=(2, 3, 4, 5)), jnp.float32)
    doubled = convolution.double(x)
    assert doubled.shape == (2, 6, 8, 5) and np.array_equal(doubled[:, 1::2, ::2], x)
    np.testing.assert_array_equal(convolution.halve(doubled), x)


def test_an_unknown_implementation_is_refused_with_the_near_one():
    with pytest.raises(ValueError, match="fast_backward"):
        convolution.convolve(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 1, 1, 1)), implementation="fast_backwards")


def test_fast_backward_refuses_forward_mode_which_the_default_has():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    for implementation in ("direct", "fast_backward"):

        def call(x: jax.Array, implementation: str = implementation) -> jax.Array:
            return convolution.convolve(x, kernel, implementation=implementation)

        if implementation == "direct":
            np.testing.assert_allclose(jax.jvp(call, (x,), (x,))[1], call(x))
        else:
            with pytest.raises(TypeError, match="forward-mode|jvp"):
                jax.jvp(call, (x,), (x,))
