import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import convolution
from gendiff.networks.fast import fast_convolution
from tests.networks.rig import quickly, value_and_slopes
from tests.tables import table

pytestmark = pytest.mark.numbers

RANDOM = np.random.default_rng(0)


def assert_equal(*pairs):
    """Of (ours, wanted, arrays): values and gradients, by one program for all of them."""
    functions, inputs = zip(*((both, arrays) for *both, arrays in pairs), strict=True)
    results = quickly(
        lambda inputs: [
            [value_and_slopes(f, *arrays) for f in both] for both, arrays in zip(functions, inputs, strict=True)
        ]
    )
    for number, both in enumerate(results(inputs)):
        jax.tree.map(
            lambda a, b, number=number: np.testing.assert_allclose(a, b, atol=1e-12, err_msg=f"pair {number}"), *both
        )


SHAPES = (8, 8), (4, 6), (7, 5)


@pytest.mark.float64
def test_fast_backward_equals_the_plain_convolution_in_value_and_gradients(monkeypatch):
    for strip in (4096, 8):  # the whole picture, and strips of it
        monkeypatch.setattr(fast_convolution, "_STRIP", strip)
        pairs = []
        for shape, stride, size in [*itertools.product(SHAPES, (1, 2), (3,)), ((7, 5), 1, 1), ((8, 8), 2, 1)]:
            both = [
                functools.partial(convolution.convolve, stride=stride, implementation=name)
                for name in ("fast_backward", "direct")
            ]
            pairs.append((*both, (RANDOM.normal(size=(3, *shape, 2)), RANDOM.normal(size=(size, size, 2, 5)))))
        assert_equal(*pairs)


def test_a_circular_convolution_is_one_of_nine_copies_of_the_image_and_moves_with_it():
    image, kernel = RANDOM.normal(size=(2, 6, 4, 3)), RANDOM.normal(size=(3, 3, 3, 2))
    for stride in (1, 2):
        circular = quickly(functools.partial(convolution.convolve, stride=stride, circular=True))
        full, after = circular(image, kernel), slice(6 // stride, 12 // stride)
        copies = quickly(functools.partial(convolution.convolve, stride=stride))(np.tile(image, (1, 3, 3, 1)), kernel)
        np.testing.assert_allclose(full, copies[:, after, 4 // stride : 8 // stride], atol=1e-5)
        moved = circular(np.roll(image, (2, -2), (1, 2)), kernel)
        np.testing.assert_allclose(moved, np.roll(full, (2 // stride, -2 // stride), (1, 2)), atol=1e-5)


@table("stride", [1, 2])
@pytest.mark.float64
def test_the_gradient_of_a_squared_input_gradient_of_fast_backward_equals_the_plain_one(stride):
    x, kernel, along = (
        jnp.asarray(RANDOM.normal(size=shape))
        for shape in ((2, 4, 4, 2), (3, 3, 2, 3), (2, 4 // stride, 4 // stride, 3))
    )

    def of_slopes(implementation):
        def penalty(x, kernel):
            def wavy(x):
                return jnp.sum(along * jnp.sin(convolution.convolve(x, kernel, stride, implementation=implementation)))

            return jnp.sum(jnp.square(jax.grad(wavy)(x)))

        return jax.grad(penalty, (0, 1))

    result = quickly(lambda *arrays: tuple(of_slopes(name)(*arrays) for name in ("fast_backward", "direct")))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *result)


def test_the_gradients_of_fast_backward_are_convolutions_of_the_fast_layout():
    def loss(x, kernel):
        return jnp.sum(jnp.square(convolution.convolve(x, kernel, implementation="fast_backward")))

    text = jax.jit(jax.grad(loss, (0, 1))).lower(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))).as_text()
    lines = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(lines) == 3 and all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in lines)


def test_a_kernels_gradient_sums_strips_of_whole_rows_no_more_than_needed():
    sizes = {(16, 16, 16): 1, (128, 8, 8): 1, (16, 32, 32): 4, (16, 31, 31): 1, (10_000, 32, 32): 16}
    assert {size: fast_convolution._strips(*size) for size in sizes} == sizes


@pytest.mark.float64
def test_padding_says_how_many_zeros_stand_above_and_to_the_left_and_a_pair_on_the_other_sides_too():
    def padded(size, stride, padding, implementation):
        side = padding if isinstance(padding, tuple) else (padding, size - 1 - padding)

        def by_hand(x, kernel):
            around = jnp.pad(x, ((0, 0), side, side, (0, 0)))
            layout = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(around, kernel, (stride, stride), "VALID", dimension_numbers=layout)

        ours = functools.partial(convolution.convolve, stride=stride, padding=padding, implementation=implementation)
        return ours, by_hand, (RANDOM.normal(size=(2, 4, 7, 3)), RANDOM.normal(size=(size, size, 3, 2)))

    sizes = (3, 2, 0), (3, 2, 1), (3, 2, 2), (4, 2, (1, 1)), (4, 1, (1, 1)), (2, 1, (0, 1))
    assert_equal(*(padded(*each, name) for each in sizes for name in ("direct", "fast_backward")))


def test_a_padding_past_the_kernel_and_an_unknown_implementation_are_refused():
    for options, message in (
        ({"padding": 3}, "padding = 3 is outside"),
        ({"padding": (1, 3)}, "padding = 3 is outside"),
        ({"implementation": "fast_backwards"}, "fast_backward"),
    ):
        with pytest.raises(ValueError, match=message):
            convolution.convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), 2, **options)


def test_halve_undoes_double():
    x = jnp.asarray(RANDOM.normal(size=(2, 3, 4, 5)), jnp.float32)
    doubled = convolution.double(x)
    assert doubled.shape == (2, 6, 8, 5) and np.array_equal(doubled[:, 1::2, ::2], x)
    np.testing.assert_array_equal(convolution.halve(doubled), x)


def test_fast_backward_refuses_forward_mode_which_the_default_has():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    tangent = jax.jvp(lambda x: convolution.convolve(x, kernel), (x,), (x,))[1]
    np.testing.assert_allclose(tangent, convolution.convolve(x, kernel, implementation="direct"))
    with pytest.raises(TypeError, match="forward-mode|jvp"):
        jax.jvp(lambda x: convolution.convolve(x, kernel, implementation="fast_backward"), (x,), (x,))
