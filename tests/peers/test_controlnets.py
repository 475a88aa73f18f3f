"""ControlNetModel of diffusers, every parameter drawn at random, tells its U-Net the same as ours after the rules of
gendiff.weights.
"""

import inspect

import jax
import numpy as np
import pytest

from gendiff import networks, weights
from gendiff.networks import controlnet
from tests.peers.test_text_unets import SMALL, UNET, XL, inputs
from tests.peers.test_weights import random_model
from tests.weights import rig
from tests.weights.diffusers.tiny_text_unets import network_inputs, shapes

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4
CONTROL = diffusers.ControlNetModel
MODELS = {
    "of Stable Diffusion 1": (SMALL, {}),
    "of Stable Diffusion 2": (SMALL | {"use_linear_projection": True, "attention_head_dim": (1, 2, 4)}, {}),
    "with pooled residuals": (SMALL, {"global_pool_conditions": True}),
    "of XL": (XL, {}),
}


def pair(settings, extra):
    """A U-Net of theirs, and a ControlNet of the same settings."""
    unet = UNET(**settings)
    shared = {name: value for name, value in CONTROL.from_unet(unet).config.items() if not name.startswith("_")}
    return random_model(unet, 0), random_model(
        CONTROL(**shared | {"conditioning_embedding_out_channels": (4, 6, 8)} | extra), 1
    )


def params_of(module, model, network, *example):
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    return module.params(dict(model.config), arrays, shapes(network, *example))


@pytest.mark.parametrize(("settings", "extra"), MODELS.values(), ids=MODELS.keys())
def test_a_model_of_diffusers_tells_the_same_and_its_unet_answers_the_same(settings, extra):
    their_unet, their_control = pair(settings, extra)
    images, hint = inputs(settings), np.random.default_rng(3).uniform(size=(2, 64, 96, 3)).astype(np.float32)
    unet = networks.UNet(precision="highest", **weights.diffusers_text_unet.network_fields(dict(their_unet.config)))
    control = networks.ControlNet(
        precision="highest", **weights.diffusers_controlnet.network_fields(dict(their_control.config))
    )
    given_here = network_inputs(**images)
    params = {
        "unet": params_of(weights.diffusers_text_unet, their_unet, unet, *given_here),
        "control": params_of(weights.diffusers_controlnet, their_control, control, *given_here, networks.Hint(hint)),
    }
    joined = controlnet.controlled(networks.pure(unet), networks.pure(control))
    here = jax.jit(joined)(params, *given_here, networks.Hint(hint, 0.8))
    residuals = jax.jit(joined.control)(params["control"], *given_here, networks.Hint(hint, 0.8))

    tensors = {name: torch.from_numpy(array) for name, array in images.items()}
    added = {"text_embeds": tensors["pooled"], "time_ids": tensors["size"]} if "pooled" in tensors else None
    x, t, tokens = tensors["x"].permute(0, 3, 1, 2), tensors["t"], tensors["tokens"]
    picture = torch.from_numpy(hint).permute(0, 3, 1, 2)
    with torch.inference_mode():
        skips, middle = their_control(
            x, t, tokens, controlnet_cond=picture, conditioning_scale=0.8, added_cond_kwargs=added, return_dict=False
        )
        more = {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
        there = their_unet(x, t, tokens, added_cond_kwargs=added, **more).sample.permute(0, 2, 3, 1).numpy()
    for own_part, part in zip((*residuals.skips, residuals.middle), (*skips, middle), strict=True):
        expected = np.broadcast_to(part.permute(0, 2, 3, 1).numpy(), own_part.shape)
        np.testing.assert_allclose(own_part, expected, rtol=SAME, atol=SAME * expected.std())
    np.testing.assert_allclose(here, there, rtol=SAME, atol=SAME * there.std())


def test_every_setting_of_theirs_and_its_default_is_known():
    taken = inspect.signature(CONTROL.__init__).parameters
    assert {
        name: parameter.default for name, parameter in taken.items() if name != "self"
    } == weights.diffusers_controlnet.DEFAULTS


def test_names_of_a_single_file_are_those_that_diffusers_converts():
    from diffusers.loaders import single_file_utils

    model = pair(SMALL, {"conditioning_embedding_out_channels": (2, 3, 4, 5)})[1]
    config, arrays = dict(model.config), {name: value.numpy() for name, value in model.state_dict().items()}
    stored = rig.in_single_file(arrays, "control_model.", weights.diffusers_controlnet.single_file_names(config))
    theirs = single_file_utils.convert_controlnet_checkpoint(dict(stored), config)
    ours = weights.diffusers_controlnet.of_single_file(stored, config)
    assert set(ours) == set(theirs) == set(arrays) and all(ours[name] is theirs[name] for name in ours)
