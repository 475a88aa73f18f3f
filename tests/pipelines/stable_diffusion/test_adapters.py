"""A LoRA changes the parts of a folder by its strength, and a ControlNet reads a hint beside the U-Net."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from gendiff import networks
from gendiff.core import packed, trees
from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.core.low_rank import LowRank
from gendiff.networks import lora
from gendiff.pipelines.stable_diffusion import adapters, open_model
from gendiff.weights import lora_files, quantised
from tests.pipelines.stable_diffusion import tiny_folders
from tests.quickly import quickly
from tests.tables import table
from tests.variants import some_slow
from tests.weights import rig as weights_rig
from tests.weights.lora.lora_arrays import factors, in_file, of_kohya

pytest.importorskip("tokenizers", reason="needs the extra [text]")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_model(tiny_folders.write(tmp_path_factory.mktemp("folder"), "stable"))


@pytest.fixture(scope="module")
def parts(model):
    return {name: model.part_params(name) for name in model.parts}


def changed(inputs, outputs, rank=2):
    rng = np.random.default_rng(0)
    return LowRank(
        rng.normal(size=(inputs, rank)).astype(np.float32), rng.normal(size=(rank, outputs)).astype(np.float32)
    )


def test_a_lora_is_merged_into_u_net_and_text_encoder_by_its_strength_and_leaves_the_rest(model, parts, tmp_path):
    changes = {
        "unet": {"down_0_0_attention": {"block_0": {"qkv": {"kernel": changed(4, 12)}}}},
        "text_encoder": {"block_1": {"mlp_0": {"kernel": changed(8, 32)}}},
    }
    models = adapters.adaptable(model)
    assert set(models) == set(changes)
    lora_files.save(tmp_path / "style.safetensors", changes, models)
    result = adapters.adapted(model, parts, tmp_path / "style.safetensors", 0.5)
    assert set(result) == set(parts) and result["vae"] is parts["vae"]
    for name, tree in changes.items():
        assert weights_rig.equal(result[name], lora.merge(parts[name], tree, 0.5))
        assert not weights_rig.equal(result[name], parts[name])


def test_a_lora_stays_beside_packed_kernels(model, parts, tmp_path):
    path = "down_0_0_attention/block_0/qkv/kernel"
    full = trees.paths(parts["unet"])
    small = trees.nested(full | {path: quantised.packed_array(full[path], quantised.int8())})
    lora_files.save(
        tmp_path / "style.safetensors", {"unet": trees.nested({path: changed(4, 12)})}, adapters.adaptable(model)
    )
    packed_model = open_model(model.index.folder, storage="int8")
    result = adapters.adapted(packed_model, {"unet": small}, tmp_path / "style.safetensors", 0.5)
    small_paths, other = (trees.paths(each, is_leaf=packed.is_packed) for each in (small, result["unet"]))
    assert isinstance(other[path], lora.AdaptedKernel) and {
        name for name in small_paths if small_paths[name] is not other[name]
    } == {path}
    assert other[path].base is small_paths[path]


_CLIP, _T5 = "text_model.encoder.layers.1.mlp.fc1", "encoder.block.0.layer.0.SelfAttention.q"
LAYERS = {
    "flux": ({"double_blocks.0.img_attn.qkv": (48, 16)}, {"lora_te1_": {_CLIP: (32, 8)}, "lora_te3_": {_T5: (8, 12)}}),
    "sd3": (
        {"joint_blocks.0.x_block.attn.qkv": (48, 16)},
        {"lora_te1_": {_CLIP: (32, 8)}, "lora_te3_": {_T5: (8, 20)}},
    ),
    "z_image": (
        {"layers.0.attention.qkv": (72, 24)},
        {"lora_unet_": {"noise_refiner.0.attention.out": (24, 24)}},
    ),
    "flux_2": (
        {"double_blocks.0.txt_attn.qkv": (48, 16)},
        {"lora_unet_": {"single_blocks.1.linear2": (16, 56)}},
    ),
}
"""What a file calls a layer of the transformer, and the layers of a second file by how their names begin there."""


@pytest.mark.parametrize("name", some_slow(LAYERS, set(LAYERS) - {"flux"}))
def test_loras_of_a_transformer_change_it_and_its_text_encoders_one_after_the_other(name, tmp_path):
    model = open_model(tiny_folders.write(tmp_path / "folder", name))
    models, (first, second) = adapters.adaptable(model), LAYERS[name]
    others = {}
    for begins, layers in second.items():
        others |= of_kohya(factors(layers), begins)
    files = (
        (in_file(factors(first), "diffusion_model.", ".lora_down.weight", ".lora_up.weight", alpha=1), 0.8),
        (others, -0.5),
    )
    start = result = expected = {part: model.part_params(part) for part in models}
    for arrays, strength in files:
        file = tmp_path / f"{strength}.safetensors"
        safetensors.numpy.save_file(arrays, file)
        result = adapters.adapted(model, result, file, strength)
        trees_of_file = lora_files.from_arrays(arrays, models)
        expected = {part: lora.merge(params, trees_of_file[part], strength) for part, params in expected.items()}
    for part, params in expected.items():
        assert weights_rig.equal(result[part], params)
    changed_parts = {part for part in start if not weights_rig.equal(result[part], start[part])}
    assert len(changed_parts) == len(second) + (name in ("flux", "sd3"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="not a whole safetensors file") as caught:
        adapters.adapted(model, start, file)
    assert str(caught.value).startswith(str(file))


def test_errors_of_a_lora_begin_with_its_path(model, parts, tmp_path):
    file = tmp_path / "style.safetensors"
    safetensors.numpy.save_file({"lora_te2_x.lora_down.weight": np.ones((2, 3), np.float32)}, file)
    with pytest.raises(CheckpointMismatchError, match=r"1 unknown: .* \(text_encoder_2 was not given\)") as caught:
        adapters.adapted(model, parts, file)
    assert str(caught.value).startswith(str(file))
    safetensors.numpy.save_file({"x": np.ones(1, np.float32)}, file, {"lora_adapter_metadata": "{"})
    with pytest.raises(DataError, match="not JSON") as caught:
        adapters.adapted(model, parts, file)
    assert str(caught.value).startswith(str(file))


@pytest.mark.slow
def test_a_pipeline_with_a_controlnet_follows_its_hint_by_its_scale(model, parts, tmp_path):
    control = adapters.open_control(tiny_folders.write_control(tmp_path / "control"), model)
    pipeline = adapters.controlled(model.pipeline(2, 16, 16), control)
    small_paths = {
        "text": {"text_encoder": parts["text_encoder"]},
        "network": parts["unet"],
        "autoencoder": parts["vae"],
    }
    params = adapters.with_control(small_paths, control.params())
    prompt, negative = model.prompt(["a red cat"]), model.negative()
    image = np.random.default_rng(0).uniform(size=(1, 16, 16, 3)).astype(np.float32)

    @quickly
    def draw(params, scale):
        return pipeline(
            params, jax.random.key(0), prompt, negative, 3.0, np.arange(2), hint=networks.Hint(image, scale)
        )

    plain = model.pipeline(2, 16, 16)
    alone = quickly(lambda params: plain(params, jax.random.key(0), prompt, negative, 3.0, np.arange(2)))(small_paths)
    result = np.asarray(draw(params, np.array([0.0, 1.0], np.float32)))
    np.testing.assert_allclose(result[0], alone[0], rtol=1e-3, atol=1e-3)
    assert np.abs(result[1] - alone[1]).max() > 0.01
    words, hint = (prompt, negative, 3.0), networks.Hint(image, np.ones(2, np.float32))
    level = plain.latent.levels[0]
    denoise = quickly(lambda params, x: pipeline.denoiser(params, *words, hint=hint)(x, level).clean)
    x = np.random.default_rng(1).normal(size=(2, *pipeline.latent.shape)).astype(np.float32)
    without = quickly(lambda params, x: plain.denoiser(params, *words)(x, level).clean)(small_paths, x)
    assert np.abs(denoise(params, x) - without).max() > 0.01
    with pytest.raises(TypeError, match="one ControlNet goes with the U-Net"):
        adapters.controlled(pipeline, control)


@pytest.mark.fault("weights: a folder of diffusers that cannot be followed")
@table(
    "changes, message",
    [
        ({"cross_attention_dim": 6}, "text_channels = 6, and the U-Net of .* has 8"),
        ({"conditioning_channels": 1}, "conditioning_channels = 1: hints are pictures of 3 channels"),
        ({"conditioning_embedding_out_channels": [2, 3, 4]}, "do not fit latents 2 times smaller"),
        ({"controlnet_conditioning_channel_order": "bgr"}, "controlnet_conditioning_channel_order = 'bgr'"),
        ({"_class_name": "T2IAdapter"}, "these rules are for ControlNetModel"),
        ({"transformer_layers_per_block": 9999}, "transformer_layers_per_block = 9999 is more than its weights have"),
    ],
)
def test_a_controlnet_that_does_not_fit_is_refused_path_first(model, tmp_path, changes, message):
    folder = tiny_folders.write_control(tmp_path / "control", **changes)
    with pytest.raises(DataError, match=message) as caught:
        adapters.open_control(folder, model)
    assert str(caught.value).startswith(str(folder))


def test_a_folder_of_classes_has_nothing_that_a_lora_or_a_controlnet_changes(tmp_path):
    classes = open_model(tiny_folders.write(tmp_path / "dit", "dit"))
    with pytest.raises(ValueError, match="a LoRA changes what draws prompts"):
        adapters.adaptable(classes)
    with pytest.raises(DataError, match="a ControlNet goes with a U-Net"):
        adapters.open_control(tiny_folders.write_control(tmp_path / "control"), classes)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["int8", "as-file"])
def test_two_loras_beside_packed_kernels_are_their_sum_over_the_same_numbers(tmp_path, storage):
    def half(part):
        return {key: value.astype(np.float16) for key, value in tiny_folders.arrays_of("stable", part).items()}

    folder = tiny_folders.write(tmp_path / "folder", "stable", half)
    model, path = open_model(folder, storage=storage), "down_0_0_attention/block_0/qkv/kernel"
    result = {"unet": model.part_params("unet")}
    full = {"unet": quantised.dequantise(result["unet"])}
    for number, strength in enumerate((0.5, -2.0)):
        file, change = tmp_path / f"{number}.safetensors", changed(4, 12, number + 1)
        lora_files.save(file, {"unet": trees.nested({path: change})}, adapters.adaptable(model))
        result = adapters.adapted(model, result, file, strength)
        full = adapters.adapted(open_model(folder), full, file, strength)
    kernel = trees.paths(result["unet"], is_leaf=packed.is_packed)[path]
    assert isinstance(kernel, lora.AdaptedKernel) and isinstance(kernel.base, lora.AdaptedKernel)
    assert packed.is_packed(kernel.base.base)
    np.testing.assert_allclose(kernel.dense(np.float32), trees.paths(full["unet"])[path], atol=1e-5)
