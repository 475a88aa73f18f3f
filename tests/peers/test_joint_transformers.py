"""Transformers of Stable Diffusion 3 and FLUX.1 in diffusers, every parameter drawn at random, give the same outputs as
ours.
"""

import inspect

import jax
import numpy as np
import pytest

from gendiff import networks, weights
from tests.peers.test_weights import random_model
from tests.weights.diffusers.published_transformers import JOINT
from tests.weights.diffusers.tiny_joint_transformers import example, module_of, network_inputs, shapes
from tests.weights.rig import names_and_shapes

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4
SD3, FLUX = diffusers.SD3Transformer2DModel, diffusers.FluxTransformer2DModel
SMALL = {
    "num_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "pooled_projection_dim": 10,
}
STABLE = SMALL | {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "caption_projection_dim": 32,
    "pos_embed_max_size": 20,
}
BLACK_FOREST = SMALL | {"num_layers": 2, "num_single_layers": 3, "in_channels": 16, "axes_dims_rope": (4, 4, 8)}
MODELS = {
    "of Stable Diffusion 3": (SD3, STABLE),
    "of Stable Diffusion 3.5 large": (SD3, STABLE | {"qk_norm": "rms_norm"}),
    "of Stable Diffusion 3.5 medium": (SD3, STABLE | {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}),
    "with attention to itself in the last block": (SD3, STABLE | {"dual_attention_layers": (2,), "out_channels": 6}),
    "with patches of 4": (SD3, STABLE | {"patch_size": 4}),
    "of FLUX.1 [schnell]": (FLUX, BLACK_FOREST),
    "of FLUX.1 [dev]": (FLUX, BLACK_FOREST | {"guidance_embeds": True}),
    "of FLUX.1 Fill": (FLUX, BLACK_FOREST | {"guidance_embeds": True, "in_channels": 24, "out_channels": 16}),
}


def inputs(model, number=2, sides=(16, 24)):
    """By name, as diffusers takes them but for channels, which stand last, and times, which are those of 1000 steps."""
    rng, config = np.random.default_rng(1), model.config
    channels = config["in_channels"] // (4 if isinstance(model, FLUX) else 1)
    inputs = {
        "x": rng.normal(size=(number, *sides, channels)).astype(np.float32),
        "t": np.linspace(1, 999, number, dtype=np.float32).round(),
        "tokens": rng.normal(size=(number, 5, config["joint_attention_dim"])).astype(np.float32),
        "pooled": rng.normal(size=(number, config["pooled_projection_dim"])).astype(np.float32),
    }
    # small scales: of a thousandfold of 7, cosines in float32 are rounded to 4e-4 on both sides
    return inputs | ({"scale": np.linspace(0.2, 1, number, dtype=np.float32)} if config.get("guidance_embeds") else {})


def answer(model):
    """Their output, channels last."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs(model).items()}
    x, words = (
        tensors["x"].permute(0, 3, 1, 2),
        {"encoder_hidden_states": tensors["tokens"], "pooled_projections": tensors["pooled"]},
    )
    with torch.inference_mode():
        if isinstance(model, SD3):
            return model(x, timestep=tensors["t"], **words).sample.permute(0, 2, 3, 1).numpy()
        batch, channels, height, width = x.shape
        packed = diffusers.FluxPipeline._pack_latents(x, batch, channels, height, width)
        at = diffusers.FluxPipeline._prepare_latent_image_ids(batch, height // 2, width // 2, "cpu", torch.float32)
        more = {"img_ids": at, "txt_ids": torch.zeros(tensors["tokens"].shape[1], 3), "guidance": tensors.get("scale")}
        tokens = model(packed, timestep=tensors["t"] / 1000, **words, **more).sample
        return diffusers.FluxPipeline._unpack_latents(tokens, height, width, 1).permute(0, 2, 3, 1).numpy()


def converted(model, config=None, arrays=None):
    """(our network, its inputs, its parameters), from the model or from what was stored of it."""
    config = config or {"_class_name": type(model).__name__, **model.config}
    arrays = arrays or {name: value.numpy() for name, value in model.state_dict().items()}
    module = module_of(config)
    network, given_here = (
        networks.DiT(precision="highest", **module.network_fields(config)),
        network_inputs(**inputs(model)),
    )
    return network, given_here, module.params(config, arrays, shapes(network, *given_here))


def assert_same_outputs(model, config=None, arrays=None):
    network, given_here, params = converted(model, config, arrays)
    there = answer(model)
    assert there.std() > 0.1
    np.testing.assert_allclose(
        jax.jit(networks.pure(network))(params, *given_here), there, rtol=SAME, atol=SAME * there.std()
    )


@pytest.mark.parametrize(("build", "settings"), MODELS.values(), ids=MODELS.keys())
def test_a_model_of_diffusers_gives_the_same_outputs_here(build, settings):
    assert_same_outputs(random_model(build(**settings)))


def test_a_saved_folder_of_stable_diffusion_3_is_read_and_our_parameters_return(tmp_path):
    settings = MODELS["of Stable Diffusion 3.5 medium"][1]
    first, second = (random_model(SD3(**settings), seed) for seed in (0, 1))
    first.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="200KB")
    stored = weights.files.load_folder(tmp_path)
    assert_same_outputs(first, stored.config, stored.arrays)
    arrays = weights.diffusers_sd3.params.theirs(stored.config, converted(first, stored.config, stored.arrays)[2])
    second.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    np.testing.assert_array_equal(answer(second), answer(first))


def test_a_saved_folder_of_flux_is_read_and_our_parameters_return(tmp_path):
    settings = MODELS["of FLUX.1 [dev]"][1]
    first, second = (random_model(FLUX(**settings), seed) for seed in (0, 1))
    first.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="200KB")
    stored = weights.files.load_folder(tmp_path)
    assert_same_outputs(first, stored.config, stored.arrays)
    params = converted(first, stored.config, stored.arrays)[2]
    arrays = weights.rules.to_theirs(params, weights.diffusers_flux.rules(stored.config))
    second.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("build", "module"), [(SD3, weights.diffusers_sd3), (FLUX, weights.diffusers_flux)], ids=["SD3", "FLUX"]
)
def test_every_setting_of_theirs_and_its_default_is_known(build, module):
    taken = inspect.signature(build.__init__).parameters
    assert {name: parameter.default for name, parameter in taken.items() if name != "self"} == module.DEFAULTS


@pytest.mark.parametrize("config", JOINT.values(), ids=JOINT.keys())
def test_every_array_of_a_published_model_has_its_place_and_shape(config):
    module = module_of(config)
    with torch.device("meta"):
        theirs = {
            name: tuple(value.shape)
            for name, value in getattr(diffusers, module.KIND).from_config(config).state_dict().items()
        }
    network = networks.DiT(**module.network_fields(config))
    ours = names_and_shapes(shapes(network, *example(config)), module.rules(config))
    assert ours | module.params.unused(config) == theirs
