"""UNet2DConditionModel of diffusers, every parameter drawn at random, gives the same outputs as ours after the rules of
gendiff.weights.
"""

import inspect

import jax
import numpy as np
import pytest

from gendiff import networks, weights
from tests.peers.test_weights import random_model
from tests.weights import rig
from tests.weights.diffusers.published_unets import CONFIGS
from tests.weights.diffusers.tiny_text_unets import network_inputs, shapes

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4
UNET = diffusers.UNet2DConditionModel
SMALL = {
    "block_out_channels": (8, 16, 16),
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "sample_size": 16,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
XL = SMALL | {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (1, 2, 4),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 10,
}
REFINER = SMALL | {
    "transformer_layers_per_block": 2,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 5 * 256 + 12,
}
MODELS = {
    "of Stable Diffusion 1": SMALL,
    "of Stable Diffusion 2": SMALL
    | {"use_linear_projection": True, "attention_head_dim": (1, 2, 4), "upcast_attention": True},
    "for inpainting": SMALL | {"in_channels": 9},
    "of XL": XL,
    "of the refiner": REFINER,
    "with scale and shift, sines first and a shifted frequency": SMALL
    | {
        "resnet_time_scale_shift": "scale_shift",
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "downsample_padding": 0,
        "norm_eps": 1e-2,
    },
}
IN_BOTH = {name: MODELS[name] for name in ("of Stable Diffusion 1", "of Stable Diffusion 2", "of XL", "of the refiner")}


def inputs(settings, number=2, sides=(16, 24)):
    """By name, as diffusers takes them but for channels, which stand last."""
    rng = np.random.default_rng(1)
    inputs = {
        "x": rng.normal(size=(number, *sides, settings.get("in_channels", 4))).astype(np.float32),
        "t": np.linspace(1, 999, number, dtype=np.float32).round(),
        "tokens": rng.normal(size=(number, 5, settings["cross_attention_dim"])).astype(np.float32),
    }
    if "addition_embed_type" in settings:
        numbers, pooled = divmod(settings["projection_class_embeddings_input_dim"], 256)
        inputs["pooled"] = rng.normal(size=(number, pooled)).astype(np.float32)
        inputs["size"] = rng.integers(0, 1024, (number, numbers)).astype(np.float32)
    return inputs


def converted(model, settings, config=None, arrays=None):
    """(our network, its inputs, its parameters), from the model or from what was stored of it."""
    arrays = arrays or {name: value.numpy() for name, value in model.state_dict().items()}
    config = config or dict(model.config)
    network = networks.UNet(precision="highest", **weights.diffusers_text_unet.network_fields(config))
    given_here = network_inputs(**inputs(settings))
    return network, given_here, weights.diffusers_text_unet.params(config, arrays, shapes(network, *given_here))


def assert_same_outputs(model, settings, config=None, arrays=None):
    network, given_here, params = converted(model, settings, config, arrays)
    tensors = {name: torch.from_numpy(array) for name, array in inputs(settings).items()}
    added = {"text_embeds": tensors["pooled"], "time_ids": tensors["size"]} if "pooled" in tensors else None
    with torch.inference_mode():
        there = model(tensors["x"].permute(0, 3, 1, 2), tensors["t"], tensors["tokens"], added_cond_kwargs=added).sample
    there = there.permute(0, 2, 3, 1).numpy()
    assert there.std() > 0.1
    np.testing.assert_allclose(
        jax.jit(networks.pure(network))(params, *given_here), there, rtol=SAME, atol=SAME * there.std()
    )


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS.keys())
def test_a_model_of_diffusers_gives_the_same_outputs_here(settings):
    assert_same_outputs(random_model(UNET(**settings)), settings)


def test_a_saved_folder_is_read_and_our_parameters_return(tmp_path):
    first, second = (random_model(UNET(**XL), seed) for seed in (0, 1))
    first.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="200KB")
    stored = weights.files.load_folder(tmp_path)
    assert_same_outputs(first, XL, stored.config, stored.arrays)
    params = converted(first, XL, stored.config, stored.arrays)[2]
    arrays = weights.rules.to_theirs(params, weights.diffusers_text_unet.rules(stored.config))
    second.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_every_setting_of_theirs_and_its_default_is_known():
    taken = inspect.signature(UNET.__init__).parameters
    defaults = {name: parameter.default for name, parameter in taken.items() if name != "self"}
    assert defaults == weights.diffusers_text_unet.DEFAULTS


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_array_of_a_published_model_has_its_place_and_shape(config):
    with torch.device("meta"):
        theirs = {name: tuple(value.shape) for name, value in UNET.from_config(config).state_dict().items()}
    network = networks.UNet(**weights.diffusers_text_unet.network_fields(config))
    channels, tokens = config["in_channels"], np.zeros((1, 1, config["cross_attention_dim"]), np.float32)
    example = {"x": np.zeros((1, 8, 8, channels), np.float32), "t": np.zeros(1, np.float32), "tokens": tokens}
    if network.pooled_channels is not None:
        numbers = 5 if network.image_size == "score" else 6
        example |= {
            "pooled": np.zeros((1, network.pooled_channels), np.float32),
            "size": np.zeros((1, numbers), np.float32),
        }
    like = shapes(network, *network_inputs(**example))
    assert rig.names_and_shapes(like, weights.diffusers_text_unet.rules(config)) == theirs


@pytest.mark.parametrize("settings", IN_BOTH.values(), ids=IN_BOTH.keys())
def test_names_of_a_single_file_are_those_that_diffusers_converts(settings):
    from diffusers.loaders import single_file_utils

    model = UNET(**settings)
    config, arrays = dict(model.config), {name: value.numpy() for name, value in model.state_dict().items()}
    stored = rig.in_single_file(arrays, "model.diffusion_model.", weights.latent_diffusion.unet_names(config))
    theirs = single_file_utils.convert_ldm_unet_checkpoint(dict(stored), config)
    ours = weights.latent_diffusion.unet(stored, config)
    assert set(ours) == set(theirs) == set(arrays) and all(ours[name] is theirs[name] for name in ours)


def test_names_of_an_autoencoder_in_a_single_file_are_those_that_diffusers_converts():
    from diffusers.loaders import single_file_utils

    levels = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    model = diffusers.AutoencoderKL(block_out_channels=(32, 32, 64), layers_per_block=2, **levels)
    config, arrays = dict(model.config), {name: value.numpy() for name, value in model.state_dict().items()}
    stored = rig.in_single_file(arrays, "first_stage_model.", weights.latent_diffusion.autoencoder_names(config))
    theirs = single_file_utils.convert_ldm_vae_checkpoint(dict(stored), config)
    ours = weights.latent_diffusion.autoencoder(stored, config)
    assert set(ours) == set(theirs) == set(arrays)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
