"""Z-Image and FLUX.2 [klein] without torch: published settings and their sizes, names there and back, and refusals.

tests/pipelines/stable_diffusion/test_like_diffusers.py has their outputs.
"""

import math

import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import (
    diffusers_flux2,
    diffusers_flux2_autoencoder,
    diffusers_z_image,
    layouts,
    transformers_qwen_encoder,
)
from tests.pipelines.stable_diffusion import tiny_folders
from tests.refusals import refusals, settings_rows
from tests.variants import some_slow
from tests.weights.rig import equal, names_and_shapes, random_pair, shapes

TEXT = networks.Text(np.zeros((1, 2, 12), np.float32), np.ones((1, 2), bool))
X, T = np.zeros((1, 4, 4, 4), np.float32), np.zeros(1, np.float32)
QWEN = tiny_folders.QWEN | {transformers_qwen_encoder.READ: (1, 2)}
MODELS = {
    "Z-Image": (diffusers_z_image, networks.SingleStreamTransformer, tiny_folders.Z_IMAGE, (X, T, TEXT)),
    "FLUX.2": (diffusers_flux2, networks.DiT, tiny_folders.FLUX_2 | {"joint_attention_dim": 12}, (X, T, TEXT)),
    "its autoencoder": (
        *(diffusers_flux2_autoencoder, networks.PatchNormedAutoencoder, tiny_folders.FLUX_2_AUTOENCODER),
        (np.zeros((1, 4, 4, 3), np.float32),),
    ),
    "Qwen3": (transformers_qwen_encoder, networks.LanguageEncoder, QWEN, (np.zeros((1, 2), np.int32),)),
}


@pytest.mark.parametrize("name", some_slow(MODELS, ("Z-Image", "FLUX.2")))
def test_parameters_return_bit_for_bit_whatever_is_unused_beside_them(name):
    module, kind, config, inputs = MODELS[name]
    like = shapes(kind(**module.network_fields(config)), *inputs)
    ours, theirs = random_pair(like, module.rules(config))
    unused = {key: np.ones(shape, np.float32) for key, shape in module.params.unused(config).items()}
    assert equal(module.params(config, theirs | unused, like), ours)
    with pytest.raises(CheckpointMismatchError, match="1 left over: extra"):
        module.params(config, theirs | unused | {"extra": np.ones(1, np.float32)}, like)


def test_a_language_model_is_read_with_and_without_the_prefix_and_whatever_its_head():
    module, kind, config, inputs = MODELS["Qwen3"]
    like = shapes(kind(**module.network_fields(config)), *inputs)
    ours, theirs = random_pair(like, module.rules(config))
    complete = theirs | {key: np.ones(shape, np.float32) for key, shape in module.params.unused(config).items()}
    bare = {key.removeprefix("model."): array for key, array in complete.items()}
    for arrays in (bare, complete | {"lm_head.weight": np.ones((2, 2), np.float32)}):
        assert equal(module.params(config, arrays, like), ours)
    with pytest.raises(CheckpointMismatchError, match=r"missing or of another shape: model.norm.weight"):
        module.params(config, {key: array for key, array in complete.items() if key != "model.norm.weight"}, like)


@pytest.mark.slow
def test_published_models_have_their_sizes_and_names():
    """Numbers of parameters, in millions (from memory): those of a few blocks, and each block more."""
    klein = tiny_folders.FLUX_2 | {"in_channels": 128, "attention_head_dim": 128, "num_attention_heads": 24}
    klein |= {"joint_attention_dim": 7680, "mlp_ratio": 3.0, "axes_dims_rope": [32] * 4, "num_single_layers": 1}
    z_image = {"_class_name": "ZImageTransformer2DModel", "n_layers": 1}
    for module, kind, config, each, total in (
        (diffusers_flux2, networks.DiT, klein, {"num_layers": 5, "num_single_layers": 20}, 3876),
        (diffusers_z_image, networks.SingleStreamTransformer, z_image, {"n_layers": 30}, 6155),
    ):
        count = number(module, kind, config)
        for name, layers in each.items():
            count += (layers - 1) * (number(module, kind, config | {name: 2}) - number(module, kind, config))
        assert round(count / 1e6) == total


def number(module, kind, config):
    network = kind(**module.network_fields(config))
    x, text = np.zeros((1, 2, 2, 32 if kind is networks.DiT else 16), np.float32), network.text_channels
    condition = networks.Text(np.zeros((1, 1, text), np.float32), np.ones((1, 1), bool))
    return sum(
        math.prod(shape) for shape in names_and_shapes(shapes(network, x, T, condition), module.rules(config)).values()
    )


def test_the_first_outputs_may_have_an_order_of_their_own():
    layout = layouts.FirstOutputs(8, layouts.NeighbourPairs(4))
    array = np.arange(30.0).reshape(10, 3)
    np.testing.assert_array_equal(layout.ours(array)[0], array[[0, 2, 1, 3, 4, 6, 5, 7, 8, 9], 0])
    np.testing.assert_array_equal(layout.theirs(layout.ours(array)), array)


def rows(name, settings):
    module, _, config, _ = MODELS[name]
    return settings_rows(module.network_fields, config, settings, ConfigError)


test_what_has_no_match_is_refused_by_name_and_value = refusals(
    *rows(
        "Z-Image",
        {
            "all_patch_size": [[1]],
            "qk_norm": [False],
            "siglip_feat_dim": [8],
            "n_kv_heads": [1],
            "n_heads": [5, 0],
            "axes_dims": [[4, 4], [3, 5, 4], [4, 4, 6]],
            "n_refiner_layers": [-1],
            "rope_theta": [1],
            "own": [1],
        },
    ),
    *rows(
        "FLUX.2",
        {
            "patch_size": [2],
            "in_channels": [6],
            "num_single_layers": [0],
            "axes_dims_rope": [[4, 4], [2, 2, 2, 4]],
            "eps": [1e-5],
            "own": [1],
        },
    ),
    *rows(
        "its autoencoder",
        {"patch_size": [[1, 1]], "decoder_block_out_channels": [[4, 4]], "scaling_factor": [0.5], "own": [1]},
    ),
    *rows("Qwen3", {"num_hidden_layers": [2], "hidden_act": ["relu"], "own": [1]}),
)
