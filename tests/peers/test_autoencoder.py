"""AutoencoderKL of diffusers, every parameter drawn at random, encodes and decodes as ours does after the rules of
gendiff.weights.
"""

import inspect

import jax
import numpy as np
import pytest

from gendiff import networks, weights

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4
TWO = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (32, 64),
}
FOUR = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32, 64, 128, 128),
    "layers_per_block": 2,
}
MODELS = {
    "of Stable Diffusion, a quarter as wide": FOUR,
    "with a shift and without convolutions of single pixels": TWO
    | {
        "latent_channels": 16,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
    "normalised per channel": TWO
    | {"latents_mean": (0.5, -1.0, 2.0, 0.0), "latents_std": (2.0, 1.0, 0.5, 4.0), "scaling_factor": 0.5},
    "without attention, of grey pictures to two channels": TWO
    | {"mid_block_add_attention": False, "in_channels": 1, "out_channels": 2, "norm_num_groups": 8},
}


def random_model(settings, seed=0):
    """The model with every parameter at random, so that those which start at 0 count too; outputs are near 1 in
    size.
    """
    model, generator = diffusers.AutoencoderKL(**settings), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = "norm" in name and name.endswith("weight") and value.ndim == 1
            spread = 0.1 if value.ndim == 1 else (value[0].numel() ** -0.5)
            value.copy_(spread * torch.randn(value.shape, generator=generator) + (1.0 if scale else 0.0))
    return model.eval()


def converted(model, config=None, arrays=None):
    """(our network, its parameters), from the model or from what was stored of it."""
    config = config or dict(model.config)
    arrays = arrays or {name: value.numpy() for name, value in model.state_dict().items()}
    network = networks.Autoencoder(precision="highest", **weights.diffusers_autoencoder.network_fields(config))
    example = np.zeros((1, 32, 32, config.get("in_channels", 3)), np.float32)
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), example))
    return network, weights.diffusers_autoencoder.params(config, arrays, shapes)


def normalisation(settings):
    """(shift, scale), as pipelines apply them beside the model."""
    scale = settings.get("scaling_factor", 0.18215)
    if "latents_mean" in settings:
        return np.float32(settings["latents_mean"]), scale / np.float32(settings["latents_std"])
    return settings.get("shift_factor", 0.0), scale


def assert_same(ours, theirs):
    theirs = theirs.permute(0, 2, 3, 1).numpy()
    assert theirs.std() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SAME)


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS.keys())
def test_a_model_of_diffusers_encodes_and_decodes_as_ours(settings):
    model = random_model(settings)
    network, params = converted(model)
    rng, (shift, scale) = np.random.default_rng(1), normalisation(settings)
    x = rng.normal(size=(2, 32, 48, model.config.in_channels)).astype(np.float32)
    z = rng.normal(size=(2, 6, 4, model.config.latent_channels)).astype(np.float32)
    with torch.inference_mode():
        gaussian = model.encode(torch.tensor(x).permute(0, 3, 1, 2)).latent_dist
        picture = model.decode(torch.tensor(z).permute(0, 3, 1, 2)).sample
    ours = jax.device_get(jax.jit(networks.pure(network, "encode"))(params, x))
    assert_same(ours.mean / np.float32(scale) + np.float32(shift), gaussian.mean)
    assert_same(ours.log_variance - 2 * np.log(np.float32(scale)), gaussian.logvar)
    np.testing.assert_allclose(ours.kl(), gaussian.kl().numpy(), rtol=1e-4)
    assert_same(jax.jit(networks.pure(network, "decode"))(params, (z - np.float32(shift)) * np.float32(scale)), picture)


def test_a_saved_folder_is_read_and_our_parameters_return(tmp_path):
    first, second = random_model(TWO), random_model(TWO, seed=1)
    first.save_pretrained(tmp_path, safe_serialization=True)
    stored = weights.files.load_folder(tmp_path)
    params = converted(first, stored.config, stored.arrays)[1]
    arrays = weights.rules.to_theirs(params, weights.diffusers_autoencoder.rules(stored.config))
    second.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_every_setting_of_theirs_and_its_default_is_known():
    taken = inspect.signature(diffusers.AutoencoderKL.__init__).parameters
    defaults = {name: parameter.default for name, parameter in taken.items() if name != "self"}
    assert defaults.items() <= weights.diffusers_autoencoder.DEFAULTS.items()
