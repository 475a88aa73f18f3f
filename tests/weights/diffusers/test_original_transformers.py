"""Transformers with the names of their authors become the arrays of diffusers, from safetensors and from GGUF.

tests/peers/test_single_file.py holds the names against what diffusers converts.
"""

import numpy as np
import pytest

from gendiff.core.errors import CheckpointMismatchError
from gendiff.weights import gguf, original_transformers, streamed
from tests.pipelines.stable_diffusion import tiny_folders
from tests.pipelines.stable_diffusion.single_files import stored
from tests.tables import table
from tests.weights.diffusers import tiny_joint_transformers
from tests.weights.diffusers.original_layout import of_diffusers, original
from tests.weights.quantised import gguf_files

MODELS = {
    "FLUX.1": (tiny_folders.FLUX, of_diffusers("flux")),
    "FLUX.2": (tiny_folders.FLUX_2, of_diffusers("flux_2")),
    "Z-Image": (tiny_folders.Z_IMAGE, of_diffusers("z_image")),
    "Stable Diffusion 3": (tiny_folders.SD3, of_diffusers("sd3")),
    "Stable Diffusion 3.5": tiny_joint_transformers.written("Stable Diffusion 3.5")[:2],
}
PUBLISHED = {
    "FLUX.1": (
        "double_blocks.0.img_attn.norm.key_norm.scale",
        "double_blocks.0.txt_mlp.2.bias",
        "single_blocks.0.linear1.weight",
        "guidance_in.in_layer.bias",
        "final_layer.adaLN_modulation.1.weight",
    ),
    "FLUX.2": ("double_stream_modulation_img.lin.weight", "single_blocks.1.norm.query_norm.scale", "txt_in.weight"),
    "Z-Image": (
        "layers.1.attention.qkv.weight",
        "context_refiner.0.attention.out.weight",
        "noise_refiner.0.feed_forward.w3.weight",
        "x_embedder.bias",
        "cap_pad_token",
    ),
    "Stable Diffusion 3": (
        "joint_blocks.1.context_block.adaLN_modulation.1.bias",
        "joint_blocks.0.x_block.mlp.fc1.weight",
        "pos_embed",
        "y_embedder.mlp.2.weight",
    ),
    "Stable Diffusion 3.5": (
        "joint_blocks.0.x_block.attn2.ln_q.weight",
        "joint_blocks.1.context_block.attn.ln_k.weight",
    ),
}
"""Some names of published files, from memory."""


def kind_of(name):
    return MODELS[name][0]["_class_name"]


def in_original(name):
    config, arrays = MODELS[name]
    return original(arrays, kind_of(name), config.get("num_layers", 0))


def converted(name, arrays):
    return original_transformers.transformer(arrays, MODELS[name][0], kind_of(name))


def same(converted, arrays):
    return set(converted) == set(arrays) and all(np.array_equal(converted[key], arrays[key]) for key in arrays)


@table("name", MODELS)
def test_original_names_become_those_of_diffusers_array_for_array(tmp_path, name):
    arrays, there = MODELS[name][1], in_original(name)
    assert set(PUBLISHED[name]) <= set(there)
    assert same(converted(name, there | {"norm_final.weight": np.ones(2)}), arrays)
    assert same(converted(name, streamed.open_file(stored(there, tmp_path))), arrays)
    assert same(converted(name, arrays), arrays)  # names of diffusers stay


@table("name", MODELS)
def test_tensors_of_gguf_become_those_of_diffusers_and_get_back_leading_axes_that_such_files_drop(tmp_path, name):
    pytest.importorskip("gguf", reason="needs the extra [language]")
    arrays, there = MODELS[name][1], in_original(name)
    lean = {key: array[0] if key in original_transformers.AXES else array for key, array in there.items()}
    file = tmp_path / "x.gguf"
    for tensors in (there, lean):
        file.write_bytes(gguf_files.gguf_bytes({}, tensors))
        assert same(converted(name, gguf.load(file).tensors), arrays)


def test_rows_of_a_packed_tensor_are_those_of_its_numbers_and_no_block_is_cut(tmp_path):
    pytest.importorskip("gguf", reason="needs the extra [language]")
    rng, file = np.random.default_rng(0), tmp_path / "x.gguf"
    tensors = {
        "matrix": gguf_files.blocks(rng, "Q4_K", (6, 256)),
        "vector": gguf_files.blocks(rng, "Q8_0", (64,)),
        "half": gguf_files.blocks(rng, "F16", (6,)),
    }
    file.write_bytes(gguf_files.gguf_bytes({}, tensors))
    matrix, vector, half = gguf.load(file).tensors.values()
    for packed, first, count in ((matrix, 2, 3), (vector, 32, 32), (half, 1, 4)):
        part = packed.rows(first, count)
        assert part.shape == (count, *packed.shape[1:]) and part.ndim == packed.ndim
        np.testing.assert_array_equal(np.asarray(part), packed.numbers()[first : first + count])
    assert np.asarray(matrix.reshaped((1, 6, 256)), np.float16).shape == (1, 6, 256) and matrix.nbytes == 6 * 144
    with pytest.raises(ValueError, match="numbers 16 to 48 are no whole blocks of Q8_0"):
        vector.rows(16, 32)


BAD = {
    "layers side by side that are too few": (
        {"double_blocks.0.img_attn.qkv.weight": np.ones((32, 16))},
        r"img_attn.qkv.weight has shape \(32, 16\), and more than 32 rows are needed for 3 layers",
    ),
    "a number in place of layers": ({"single_blocks.0.linear1.bias": np.ones(())}, r"linear1.bias has shape \(\)"),
    "a layer under both names": ({"x_embedder.weight": np.ones(1)}, "is x_embedder.weight of diffusers, as another"),
}


@pytest.mark.fault("weights: names missing or left over")
@table("changes, message", BAD.values())
def test_arrays_that_cannot_be_told_apart_are_refused_by_name(changes, message):
    with pytest.raises(CheckpointMismatchError, match=message):
        converted("FLUX.1", in_original("FLUX.1") | changes)


def test_what_has_no_such_name_keeps_its_name():
    strange = ("double_blocks.0.img_attn.qkv.scale_weight", "double_blocks.x.img_attn.qkv.weight", "img_in", "qkv.0")
    result = converted("FLUX.1", dict.fromkeys((*strange, "double_blocks.7.img_mod.lin.bias"), np.ones(2)))
    assert set(result) == {*strange, "transformer_blocks.7.norm1.linear.bias"}
