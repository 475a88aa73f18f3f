"""Where the parameters of folders lie on a mesh of devices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding

from gendiff.core import trees
from gendiff.core.low_rank import LowRank
from gendiff.pipelines.stable_diffusion import adapters, open_model, split_parts
from gendiff.training import sharding
from gendiff.weights import lora_files
from tests.pipelines.stable_diffusion import tiny_folders
from tests.weights import rig

pytest.importorskip("tokenizers", reason="needs the extra [text]")


def mesh(data=1, fsdp=1, tensor=1):
    return AbstractMesh((data, fsdp, tensor), sharding.AXES)


def block(width):
    """Shapes of a network of blocks with a wide embedding."""
    shapes = {
        "token": (64 * width, width),
        "block_0": {
            "qkv": {"kernel": (width, 3 * width), "bias": (3 * width,)},
            "output": {"kernel": (width, width)},
            "mlp_0": {"kernel": (width, 4 * width)},
            "mlp_1": {"kernel": (4 * width, width)},
            "modulation": {"kernel": (width, 6 * width)},
            "norm": {"scale": (width,)},
        },
    }
    return of_shapes(shapes)


def of_shapes(shapes):
    is_shape = {"is_leaf": lambda leaf: isinstance(leaf, tuple)}
    return jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes, **is_shape)


def specs(shapes, devices):
    return {path: tuple(where.spec) for path, where in trees.paths(split_parts.shardings(shapes, devices)).items()}


def test_fsdp_splits_the_largest_axis_and_tensor_the_layers_of_blocks():
    by_size, by_layer, both = (specs(block(64), devices) for devices in (mesh(fsdp=8), mesh(tensor=8), mesh(1, 2, 4)))
    assert by_size["block_0/output/kernel"] == ("fsdp", None) and by_size["block_0/qkv/kernel"] == (None, "fsdp")
    assert by_layer["block_0/qkv/kernel"] == by_layer["block_0/mlp_0/kernel"] == (None, "tensor")
    assert by_layer["block_0/output/kernel"] == by_layer["block_0/mlp_1/kernel"] == ("tensor", None)
    assert by_layer["block_0/qkv/bias"] == ("tensor",) and by_layer["token"] == ("tensor", None)
    assert by_layer["block_0/modulation/kernel"] == (None, "tensor")  # which no rule names
    assert both["block_0/qkv/kernel"] == ("fsdp", "tensor") and both["token"] == ("fsdp", "tensor")
    assert not any(specs(block(64), mesh(data=8))["token"])
    assert by_size["block_0/norm/scale"] == (None,) == by_layer["block_0/norm/scale"]


@pytest.mark.parametrize("devices", [mesh(fsdp=8), mesh(tensor=8), mesh(1, 2, 4)], ids=str)
def test_a_device_holds_an_eighth_of_what_is_large(devices):
    shapes = block(64)
    places = jax.tree.leaves(split_parts.shardings(shapes, devices))
    held = sum(
        math.prod(where.shard_shape(leaf.shape)) for leaf, where in zip(jax.tree.leaves(shapes), places, strict=True)
    )
    small = sum(leaf.size for leaf in jax.tree.leaves(shapes) if leaf.size < sharding.SMALLEST)
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert total // 8 <= held <= (total - small) // 8 + small


def test_a_layer_that_tensor_does_not_divide_is_split_along_another_axis_and_whole_where_it_divides_none():
    mlp = {
        "mlp_0": {"kernel": (128, 682), "bias": (682,)},
        "mlp_1": {"kernel": (341, 128)},
        "output": {"kernel": (341, 341)},
    }
    shapes = of_shapes({"block_0": mlp})
    assert specs(shapes, mesh(tensor=8)) == {
        "block_0/mlp_0/kernel": ("tensor", None),
        "block_0/mlp_0/bias": (None,),
        "block_0/mlp_1/kernel": (None, "tensor"),
        "block_0/output/kernel": (None, None),
    }
    assert specs(shapes, mesh(fsdp=2, tensor=8))["block_0/mlp_0/kernel"] == ("tensor", "fsdp")


def test_arrays_go_from_their_file_straight_to_the_devices(tmp_path, monkeypatch):
    folder = tiny_folders.write(tmp_path / "flux", "flux")
    devices, put, puts = sharding.mesh(devices=jax.devices()[:1]), jax.device_put, []
    model, alone = open_model(folder, mesh=devices), open_model(folder)

    def spied(value, where=None, **options):
        puts.append((type(value), type(where)))
        return put(value, where, **options)

    for name in ("text_encoder_2", "vae"):
        with monkeypatch.context() as patches:
            patches.setattr(jax, "device_put", spied)
            params = trees.paths(model.part_params(name))
        assert puts == [(np.ndarray, NamedSharding)] * len(params)
        puts.clear()
        for path, array in trees.paths(alone.part_params(name)).items():
            np.testing.assert_array_equal(params[path], array, err_msg=path)
            assert params[path].sharding.mesh == devices


@pytest.mark.parametrize("storage", ["full", "int8"])
def test_packed_kernels_and_what_a_lora_changes_lie_on_the_devices_too(tmp_path, storage):
    folder, devices = tiny_folders.write(tmp_path / "stable", "stable"), sharding.mesh(devices=jax.devices()[:1])
    model, alone = (open_model(folder, storage=storage, mesh=each) for each in (devices, None))
    change = LowRank(np.ones((8, 2), np.float32), np.ones((2, 32), np.float32))
    tree = {"text_encoder": {"block_1": {"mlp_0": {"kernel": change}}}}
    lora_files.save(tmp_path / "style.safetensors", tree, adapters.adaptable(model))
    result, expected = (
        adapters.adapted(each, {"text_encoder": each.part_params("text_encoder")}, tmp_path / "style.safetensors")
        for each in (model, alone)
    )
    assert all(leaf.sharding.mesh == devices for leaf in jax.tree.leaves(result))
    assert rig.equal(result, expected)
