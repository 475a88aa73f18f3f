"""Layouts are bijections of axes."""

import numpy as np

from gendiff.weights import layouts
from tests.tables import table

LAYOUTS = {
    "same": (layouts.SAME, (3, 5)),
    "linear": (layouts.LINEAR, (3, 4)),
    "convolution": (layouts.CONVOLUTION, (2, 3, 5, 7)),
    "pixels": (layouts.Patches(), (6, 5, 1, 1)),
    "patches": (layouts.Patches(2), (6, 5, 2, 2)),
    "swapped": (layouts.SwappedInputs(), (5, 6)),
    "swapped outputs": (layouts.SwappedOutputs(), (6, 5)),
    "swapped biases": (layouts.SwappedOutputs(), (6,)),
    "neighbours": (layouts.NeighbourPairs(6), (12, 5)),
    "neighbours in a vector": (layouts.NeighbourPairs(6), (12,)),
    "packed inputs": (layouts.PackedInputs(2), (6, 20)),
    "packed outputs": (layouts.PackedOutputs(2), (20, 6)),
    "packed biases": (layouts.PackedOutputs(2), (20,)),
    "scaled": (layouts.ScaledOutputs(8), (4, 3)),
    "first of one": (layouts.FirstOfOne(), (1, 4, 3)),
}


@table("layout, shape", LAYOUTS.values())
def test_there_and_back_is_the_same_array(layout, shape):
    array = np.random.default_rng(0).normal(size=shape)
    assert np.array_equal(layout.theirs(layout.ours(array)), array)
    assert isinstance(layout, layouts.Layout)


def test_linear_layers_and_convolutions_give_the_same_products():
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    np.testing.assert_allclose(x @ layouts.LINEAR.ours(weight), np.einsum("oi,bi->bo", weight, x))
    weight, x = rng.normal(size=(3, 4, 5, 7)), rng.normal(size=(4, 5, 7))
    np.testing.assert_allclose(
        np.einsum("uvio,iuv->o", layouts.CONVOLUTION.ours(weight), x), np.einsum("oiuv,iuv->o", weight, x)
    )


def test_a_strided_convolution_is_a_linear_layer_of_its_patches():
    rng = np.random.default_rng(0)
    # rows, columns, channels: the order of networks.dit.patches
    weight, patch = rng.normal(size=(3, 4, 2, 2)), rng.normal(size=(2, 2, 4))
    np.testing.assert_allclose(
        patch.reshape(-1) @ layouts.Patches(2).ours(weight), np.einsum("ocuv,uvc->o", weight, patch)
    )


def test_swapped_inputs_take_cosines_for_sines():
    weight, sines, cosines = np.random.default_rng(0).normal(size=(5, 6)), np.arange(3.0), np.arange(3.0) + 7
    here = np.concatenate([cosines, sines]) @ layouts.SwappedInputs().ours(weight)
    np.testing.assert_allclose(here, weight @ np.concatenate([sines, cosines]))


def test_swapped_outputs_put_the_gate_first_in_the_kernel_and_the_bias():
    rng, swapped = np.random.default_rng(0), layouts.SwappedOutputs()
    weight, bias, x = rng.normal(size=(6, 5)), rng.normal(size=6), rng.normal(size=5)
    value, gate = np.split(weight @ x + bias, 2)
    np.testing.assert_allclose(x @ swapped.ours(weight) + swapped.ours(bias), np.concatenate([gate, value]))


def test_neighbours_of_a_rotary_pair_come_half_a_head_apart():
    assert layouts.NeighbourPairs(6).ours(np.arange(12.0)[:, None])[0].tolist() == [
        0,
        2,
        4,
        1,
        3,
        5,
        6,
        8,
        10,
        7,
        9,
        11,
    ]
    assert layouts.NeighbourPairs(6).ours(np.arange(12.0)).tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


def test_a_packed_patch_has_all_pixels_of_a_channel_before_those_of_the_next():
    rng = np.random.default_rng(0)
    patch = rng.normal(size=(2, 2, 5))  # rows, columns, channels: the order of networks.dit.patches
    packed = patch.transpose(2, 0, 1).reshape(-1)
    weight, back, bias = rng.normal(size=(6, 20)), rng.normal(size=(20, 6)), rng.normal(size=20)
    np.testing.assert_allclose(patch.reshape(-1) @ layouts.PackedInputs(2).ours(weight), weight @ packed)
    outputs, x = layouts.PackedOutputs(2), rng.normal(size=6)
    here = (x @ outputs.ours(back) + outputs.ours(bias)).reshape(2, 2, 5)
    np.testing.assert_allclose(here.transpose(2, 0, 1).reshape(-1), back @ x + bias)


def test_a_scaled_layer_gives_so_many_times_as_much_and_loses_no_digit_of_a_half():
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float16)
    ours = layouts.ScaledOutputs(8).ours(weight)
    assert ours.dtype == np.float16 and np.array_equal(ours.astype(np.float64), 8 * weight.T.astype(np.float64))


KERNELS = {
    name: (layout, shape)
    for name, (layout, shape) in LAYOUTS.items()
    if name not in ("same", "first of one") and len(shape) > 1
}


@table("layout, shape", KERNELS.values())
def test_inputs_and_outputs_of_a_product_of_two_matrices_are_ordered_apart(layout, shape):
    rng, rank = np.random.default_rng(0), 3
    down, up = rng.normal(size=(rank, *shape[1:])), rng.normal(size=(shape[0], rank))
    product = layout.ours((up @ down.reshape(rank, -1)).reshape(shape))
    first, second = layouts.of_inputs(layout).ours(down), layouts.of_outputs(layout).ours(up)
    np.testing.assert_allclose((first.reshape(-1, rank) @ second).reshape(product.shape), product)
    assert np.array_equal(layouts.of_inputs(layout).theirs(first), down) and np.array_equal(
        layouts.of_outputs(layout).theirs(second), up
    )
