"""Transformers whose weights stay packed in memory draw what those of the unpacked numbers draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import packed, trees
from gendiff.pipelines.stable_diffusion import open_model
from gendiff.weights import packed_reading, quantised
from tests.pipelines.stable_diffusion import tiny_folders
from tests.quickly import quickly
from tests.weights.diffusers.original_layout import original
from tests.weights.quantised import gguf_files

pytest.importorskip("tokenizers", reason="needs the extra [text]")
quants = pytest.importorskip("gguf", reason="needs the extra [language]").quants

WIDE = {
    "flux": {"attention_head_dim": 32, "num_attention_heads": 4, "axes_dims_rope": [8, 8, 16]},
    "flux_2": {"attention_head_dim": 32, "num_attention_heads": 4, "axes_dims_rope": [8, 8, 8, 8]},
    "sd3": {"attention_head_dim": 32, "num_attention_heads": 4, "caption_projection_dim": 128},
    "z_image": {"dim": 128, "n_heads": 4, "n_kv_heads": 4, "axes_dims": [8, 8, 16]},
}
"""Settings of transformers whose matrices are mostly whole blocks."""
ARCHITECTURES = {"flux": "flux", "flux_2": "flux", "sd3": "sd3", "z_image": "lumina2"}
PICTURE = 5e-3
"""Of pictures in [-1, 1]: a single row is multiplied by digits of 15 bits (see `integer_products`), and here weights
are random, so that a rounding error grows.
"""


def wide(folder, name, settings=None):
    """(the folder with a wide transformer, its arrays)."""
    tiny_folders.write(folder, name)
    return folder, widened(folder, name, "transformer", settings or WIDE[name])


def widened(folder, name, part, settings):
    """The arrays of a part, which is written anew with other settings."""
    config = tiny_folders.FOLDERS[name][2][part] | settings
    arrays = tiny_folders.arrays_by(name, part, config)
    tiny_folders.write_part(folder / part, config, arrays)
    return arrays


def tensors(arrays):
    """Matrices in blocks of 4 and 8 bits in turn, where these are whole, or in 16 bits; all else in 32."""
    result, kinds = {}, ("Q4_0", "Q8_0", "Q4_1")
    for number, (key, array) in enumerate(arrays.items()):
        kind = "F32" if array.ndim != 2 else kinds[number % 3] if array.shape[-1] % 32 == 0 else "F16"
        code = quants.GGMLQuantizationType[kind]
        result[key] = kind, array.shape, quants.quantize(array.astype(np.float32), code).tobytes()
    return result


def in_gguf(folder, name, arrays):
    """The file of a transformer as its authors lay it out."""
    config = tiny_folders.FOLDERS[name][2]["transformer"]
    there = original(arrays, config["_class_name"], config.get("num_layers", 0))
    file = folder / "model.gguf"
    file.write_bytes(gguf_files.gguf_bytes({"general.architecture": ARCHITECTURES[name]}, tensors(there)))
    return file


def draw(model):
    """(parameters, a picture, bytes that the program needs beside its arguments)."""
    params = model.params()
    pipeline = model.pipeline(2, 16, 16)
    compiled = quickly(pipeline).lower(params, jax.random.key(0), model.prompt("red cat"), None, 2.0, jnp.arange(1))
    program = compiled.compile()
    picture = program(params, jax.random.key(0), model.prompt("red cat"), None, 2.0, jnp.arange(1))
    return params, np.asarray(picture), program.memory_analysis().temp_size_in_bytes


def assert_same_numbers(stored, full):
    unpacked = trees.paths(quantised.dequantise(stored))
    for path, array in trees.paths(full).items():
        np.testing.assert_allclose(unpacked[path], array, rtol=0, atol=1e-6 * np.abs(array).max(), err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_a_transformer_in_blocks_takes_the_memory_of_its_file_and_draws_the_pictures_of_its_numbers(tmp_path, name):
    folder, arrays = wide(tmp_path / "folder", name)
    file = in_gguf(tmp_path, name, arrays)
    model = open_model(folder, weights=file)
    assert model.storage == "as-file"
    params, picture, temporary = draw(model)
    full, expected, unpacked = draw(open_model(folder, weights=file, storage="full"))
    assert_same_numbers(params["network"], full["network"])
    assert np.abs(picture - expected).max() < PICTURE < 0.1 * expected.std()
    full_size = quantised.nbytes(full["network"])
    assert quantised.nbytes(params["network"]) < 1.02 * file.stat().st_size < 0.35 * full_size
    largest = max(leaf.nbytes for leaf in jax.tree.leaves(full["network"]))
    assert temporary - unpacked < min(4 * largest, 0.7 * full_size)  # a layer at a time is unpacked


def test_what_is_no_table_or_kernel_stays_an_array_and_a_storage_may_be_asked_for(tmp_path):
    folder, arrays = wide(tmp_path / "folder", "flux")
    file = in_gguf(tmp_path, "flux", arrays)
    params = open_model(folder, weights=file).part_params("transformer")
    stays = {path for path, leaf in trees.paths(params, is_leaf=packed.is_packed).items() if packed.is_packed(leaf)}
    assert stays and {path.rpartition("/")[2] for path in stays} == {"kernel"}
    assert_same_numbers(params, open_model(folder, weights=file, storage="full").part_params("transformer"))
    assert not any(map(packed.is_packed, packed.leaves(open_model(folder, weights=file).part_params("vae"))))
    as_it_is = open_model(folder, storage="as-file")  # whose files have float32
    assert not any(map(packed.is_packed, packed.leaves(as_it_is.part_params("transformer"))))


@pytest.mark.slow
def test_kernels_in_4_bits_take_an_eighth_of_the_memory_and_say_what_they_lose(tmp_path):
    folder, _ = wide(tmp_path / "folder", "flux")
    losses = {}
    small = open_model(folder, storage="int4").part_params("transformer", losses.__setitem__)
    assert packed_reading.together(losses.values()).relative < 0.09
    assert quantised.nbytes(small) < 0.2 * quantised.nbytes(open_model(folder).part_params("transformer"))


HALVES = {
    "stable": ("text_encoder", "unet"),
    "xl": ("text_encoder", "text_encoder_2", "unet"),
    "dit": ("transformer",),
}
"""Folder -> its parts whose kernels are kept."""


@pytest.mark.slow
@pytest.mark.parametrize("name", HALVES)
def test_halves_take_half_the_memory_with_their_tables(tmp_path, name):
    def half(part):
        return {key: value.astype(np.float16) for key, value in tiny_folders.arrays_of(name, part).items()}

    folder = tiny_folders.write(tmp_path / name, name, half)
    model, full = open_model(folder, storage="as-file"), open_model(folder)
    for part in HALVES[name]:
        assert_same_numbers(model.part_params(part), full.part_params(part))
        shares = [
            quantised.nbytes(leaf) / (4 * packed.size(leaf))
            for path, leaf in trees.paths(model.part_params(part), is_leaf=packed.is_packed).items()
            if path.endswith(("/kernel", "token"))
        ]
        assert shares and set(shares) == {0.5}
