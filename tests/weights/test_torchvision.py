"""Names of torchvision's Inception-v3, without torch; tests/peers/test_inception.py compares the outputs."""

import functools

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError
from gendiff.weights import torchvision_inception
from tests.weights.rig import names_and_shapes

NAMES = {
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Conv2d_4a_3x3.bn.running_var": (192,),
    "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
    "Mixed_5d.branch_pool.bn.weight": (64,),
    "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
    "Mixed_6b.branch7x7dbl_5.conv.weight": (192, 128, 1, 7),
    "Mixed_6e.branch7x7_3.conv.weight": (192, 192, 7, 1),
    "Mixed_7a.branch7x7x3_4.bn.bias": (192,),
    "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
    "Mixed_7c.branch_pool.bn.running_mean": (192,),
}
OTHERS = {
    "fc.weight": (1000, 2048),
    "fc.bias": (1000,),
    "AuxLogits.conv0.conv.weight": (128, 768, 1, 1),
    "AuxLogits.fc.bias": (1000,),
    "Mixed_5b.branch1x1.bn.num_batches_tracked": (),
}


@functools.cache
def shapes():
    example = np.zeros((1, 75, 75, 3), np.float32)
    return jax.eval_shape(lambda: networks.init(networks.Inception(), jax.random.key(0), example))


def theirs():
    """Arrays of their names that take no memory, but for one."""
    empty = {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in names_and_shapes(shapes(), torchvision_inception.rules()).items()
    }
    return empty | {"Mixed_6a.branch3x3.bn.bias": np.arange(384, dtype=np.float32)}


def test_names_and_shapes_are_those_of_the_model_and_classifiers_and_counters_are_left_out_by_name():
    names = {name: array.shape for name, array in theirs().items()}
    assert NAMES.items() <= names.items() and len(names) == 94 * 5
    params = torchvision_inception.params(
        theirs() | {name: np.zeros(shape, np.float32) for name, shape in OTHERS.items()}, shapes()
    )
    assert jax.tree.structure(params) == jax.tree.structure(shapes())
    # the published number without classifiers, and the statistics of 17216 channels
    assert networks.count(shapes()) == 27161264 - 3326696 - 2049000 + 2 * 17216
    np.testing.assert_array_equal(params["mixed_6a"]["branch3x3"]["bias"], np.arange(384))


def test_what_does_not_fit_is_told_in_one_table():
    wrong = theirs()
    del wrong["Mixed_5b.branch1x1.conv.weight"]
    wrong |= {"Conv2d_1a_3x3.bn.bias": np.zeros(31, np.float32), "Mixed_7d.conv.weight": np.zeros(1, np.float32)}
    wrong["Mixed_7c.bn.num_batches_tracked"] = np.zeros(3, np.float32)  # a count is one number
    with pytest.raises(CheckpointMismatchError) as caught:
        torchvision_inception.params(wrong, shapes())
    for part in (
        "1 missing: Mixed_5b.branch1x1.conv.weight (for mixed_5b/branch1x1/kernel)",
        "2 left over: Mixed_7c.bn.num_batches_tracked, Mixed_7d.conv.weight",
        "1 wrong: Conv2d_1a_3x3.bn.bias has shape (31,), but conv2d_1a_3x3/bias of shape (32,) needs (32,)",
    ):
        assert part in str(caught.value)
