"""Models of diffusers, every parameter drawn at random, give the same outputs as ours after the rules of
gendiff.weights.
"""

import inspect

import jax
import numpy as np
import pytest

import gendiff as gd
from gendiff import core, networks, weights

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4
TIMES = (0, 1, 37, 500, 999)
UNET, DIT = diffusers.UNet2DModel, diffusers.DiTTransformer2DModel
OURS = {UNET: (weights.diffusers_unet, networks.UNet), DIT: (weights.diffusers_dit, networks.DiT)}

BENCHMARK = {
    "sample_size": 32,
    "block_out_channels": (64, 128, 128),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 8,
}
SMALL = {
    "sample_size": 16,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
DDPM = {
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-2,
    "attention_head_dim": None,
    "act_fn": "swish",
}
IN_BLOCKS = {
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
}
SCALED = SMALL | {"resnet_time_scale_shift": "scale_shift"}
DIT_S_2 = {
    "num_attention_heads": 6,
    "attention_head_dim": 64,
    "num_layers": 12,
    "sample_size": 32,
    "in_channels": 4,
    "patch_size": 2,
}
TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_layers": 2,
    "in_channels": 3,
    "num_embeds_ada_norm": 7,
    "sample_size": 8,
}
MODELS = {
    "U-Net of the benchmark": (UNET, BENCHMARK),
    "U-Net as of DDPM": (UNET, SMALL | DDPM),
    "U-Net with classes and another number of channels out": (
        UNET,
        SMALL | {"num_class_embeds": 11, "out_channels": 6},
    ),
    "U-Net with scale and shift": (UNET, SCALED | {"add_attention": False}),
    "U-Net with scale and shift and attention": (UNET, SCALED | {"attn_norm_num_groups": 8}),
    "U-Net resized in blocks": (UNET, SMALL | IN_BLOCKS),
    "U-Net of images that are not square": (UNET, SMALL | {"sample_size": (16, 32)}),
    "DiT-S/2": (DIT, DIT_S_2),
    "DiT with a large epsilon and twice the channels out": (DIT, TINY | {"norm_eps": 1e-2, "out_channels": 6}),
    "DiT with patches of 4": (DIT, TINY | {"sample_size": 16, "patch_size": 4}),
}


def random_model(model, seed=0):
    """The model with every parameter at random, so that those which start at 0 count too; outputs are near 1 in
    size.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = "norm" in name and name.endswith("weight") and value.ndim == 1
            spread = 0.1 if value.ndim == 1 else (value[0].numel() ** -0.5)
            value.copy_(spread * torch.randn(value.shape, generator=generator) + (1.0 if scale else 0.0))
    return model.eval()


def inputs(model):
    """(images, times, labels or None); the last label is the one after the classes, which stands for none."""
    config = dict(model.config)
    size = config["sample_size"]
    height, width = size if isinstance(size, tuple) else (size, size)
    x = np.random.default_rng(1).normal(size=(len(TIMES), height, width, config["in_channels"])).astype(np.float32)
    rows = config["num_embeds_ada_norm"] + 1 if isinstance(model, DIT) else config["num_class_embeds"]
    return x, np.array(TIMES), None if rows is None else np.array([0, rows - 2, 3, 1, rows - 1])


def converted(model, config=None, arrays=None):
    """(our network, its inputs, its parameters), from the model or from what was stored of it."""
    module, build = OURS[type(model)]
    config = config or dict(model.config)
    arrays = arrays or {name: value.numpy() for name, value in model.state_dict().items()}
    network, (x, t, label) = build(precision="highest", **module.network_fields(config)), inputs(model)
    call = x, t.astype(np.float32), *(() if label is None else (np.where(label == label.max(), gd.NO_LABEL, label),))
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *call))
    return network, call, module.params(config, arrays, shapes)


def assert_same_outputs(model, config=None, arrays=None):
    network, call, params = converted(model, config, arrays)
    x, t, label = inputs(model)
    labels = {} if label is None else {"class_labels": torch.tensor(label)}
    with torch.inference_mode():
        there = model(torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(t), **labels).sample.permute(0, 2, 3, 1).numpy()
    assert there.std() > 0.1 and np.ptp(there.std((1, 2, 3))) > 0
    np.testing.assert_allclose(jax.jit(networks.pure(network))(params, *call), there, rtol=0, atol=SAME)


@pytest.mark.parametrize(("build", "settings"), MODELS.values(), ids=MODELS.keys())
def test_a_model_of_diffusers_gives_the_same_outputs_here(build, settings):
    model = random_model(build(**settings))
    if build is DIT:  # ours has one embedder of time and label, theirs one in every block
        for block in model.transformer_blocks:
            block.norm1.emb.load_state_dict(model.transformer_blocks[0].norm1.emb.state_dict())
    assert_same_outputs(model)


def test_embedders_that_differ_between_the_blocks_of_a_dit_are_refused():
    with pytest.raises(
        core.errors.CheckpointMismatchError, match="transformer_blocks.1.norm1.emb.*differs from transformer_blocks.0"
    ):
        converted(random_model(DIT(**TINY)))


def test_a_saved_folder_is_read_whole_or_in_parts(tmp_path):
    model = random_model(UNET(**SMALL))
    model.save_pretrained(tmp_path / "whole", safe_serialization=True)
    model.save_pretrained(tmp_path / "parts", safe_serialization=True, max_shard_size="100KB")
    for name, files in (("whole", 1), ("parts", 2)):
        stored = weights.files.load_folder(tmp_path / name)
        assert len(list((tmp_path / name).glob("*.safetensors"))) >= files
        assert_same_outputs(model, stored.config, stored.arrays)


def test_a_pickle_saved_by_diffusers_is_refused(tmp_path):
    UNET(**SMALL).save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(core.errors.DataError, match="diffusion_pytorch_model.bin"):
        weights.files.load_folder(tmp_path)


def test_our_parameters_return_to_a_model_of_diffusers():
    first, second = (random_model(UNET(**SMALL), seed) for seed in (0, 1))
    arrays = weights.rules.to_theirs(converted(first)[2], weights.diffusers_unet.rules(dict(first.config)))
    second.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("build", OURS)
def test_every_setting_of_theirs_and_its_default_is_known(build):
    taken = inspect.signature(build.__init__).parameters
    defaults = {name: parameter.default for name, parameter in taken.items() if name != "self"}
    assert defaults.items() <= OURS[build][0].DEFAULTS.items()
