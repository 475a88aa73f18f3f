"""Models of diffusers, every parameter drawn at random, give the same outputs as ours after the rules of gendiff.weights."""

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
UNETS = {
    "the benchmark's": BENCHMARK,
    "as of DDPM": SMALL
    | {"downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-2, "attention_head_dim": None, "act_fn": "swish"},
    "classes, another number of channels out": SMALL | {"num_class_embeds": 11, "out_channels": 6},
    "scale and shift": SMALL | {"resnet_time_scale_shift": "scale_shift", "add_attention": False},
    "scale and shift with attention": SMALL | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 8},
    "resized in blocks": SMALL
    | {
        "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "not square": SMALL | {"sample_size": (16, 32)},
}
DIT_S_2 = {"num_attention_heads": 6, "attention_head_dim": 64, "num_layers": 12, "sample_size": 32, "in_channels": 4, "patch_size": 2}
TINY = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "in_channels": 3, "num_embeds_ada_norm": 7}
DITS = {
    "DiT-S/2": DIT_S_2,
    "a large epsilon, twice the channels out": TINY | {"sample_size": 8, "norm_eps": 1e-2, "out_channels": 6},
    "patches of 4": TINY | {"sample_size": 16, "patch_size": 4},
}


def drawn(model, seed=0):
    """The model with every parameter at random, so that those which start at 0 count too; outputs are near 1 in size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            scale = "norm" in name and name.endswith("weight") and value.ndim == 1
            spread = 0.1 if value.ndim == 1 else (value[0].numel() ** -0.5)
            value.copy_(spread * noise + (1.0 if scale else 0.0))
    return model.eval()


def arrays_of(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def shared(model):
    """Block 0's embedder of time and label in every block."""
    first = model.transformer_blocks[0].norm1.emb.state_dict()
    for block in model.transformer_blocks:
        block.norm1.emb.load_state_dict(first)
    return model


def images(config, channels):
    size = config["sample_size"]
    height, width = size if isinstance(size, tuple) else (size, size)
    return np.random.default_rng(1).normal(size=(len(TIMES), height, width, channels)).astype(np.float32)


def theirs(model, x, t, label):
    with torch.inference_mode():
        labels = {} if label is None else {"class_labels": torch.tensor(label)}
        return model(torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(t), **labels).sample.permute(0, 2, 3, 1).numpy()


def ours(network, params, x, t, *label):
    return np.asarray(jax.jit(networks.pure(network))(params, x, t.astype(np.float32), *label))


def shapes(network, x, *label):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x, np.zeros(len(x), np.float32), *label))


def compared(module, build, config, arrays, model, channels, classes):
    """(ours, theirs) on random images at several times."""
    network = build(precision="highest", **module.network_fields(config))
    x, t = images(config, channels), np.array(TIMES)
    label = None if classes is None else np.array([0, classes - 1, 3, 1, classes])
    condition = () if label is None else (np.where(label == classes, gd.NO_LABEL, label),)
    params = module.params(config, arrays, shapes(network, x, *condition))
    return ours(network, params, x, t, *condition), theirs(model, x, t, label)


@pytest.mark.parametrize("changes", UNETS.values(), ids=UNETS.keys())
def test_a_unet_of_diffusers_gives_the_same_outputs_here(changes):
    model = drawn(diffusers.UNet2DModel(**changes))
    classes = None if model.config.num_class_embeds is None else model.config.num_class_embeds - 1
    here, there = compared(weights.diffusers_unet, networks.UNet, dict(model.config), arrays_of(model), model, 3, classes)
    assert there.std() > 0.1 and np.ptp(there.std((1, 2, 3))) > 0

    np.testing.assert_allclose(here, there, rtol=0, atol=SAME)


def test_a_saved_folder_is_read_whole_or_in_parts(tmp_path):
    model = drawn(diffusers.UNet2DModel(**SMALL))
    model.save_pretrained(tmp_path / "whole", safe_serialization=True)
    model.save_pretrained(tmp_path / "parts", safe_serialization=True, max_shard_size="100KB")
    for name, files in (("whole", 1), ("parts", 2)):
        stored = weights.files.load_folder(tmp_path / name)
        assert len(list((tmp_path / name).glob("*.safetensors"))) >= files
        here, there = compared(weights.diffusers_unet, networks.UNet, stored.config, stored.arrays, model, 3, None)
        np.testing.assert_allclose(here, there, rtol=0, atol=SAME)


def test_a_pickle_saved_by_diffusers_is_refused(tmp_path):
    diffusers.UNet2DModel(**SMALL).save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(core.errors.DataError, match="diffusion_pytorch_model.bin"):
        weights.files.load_folder(tmp_path)


def test_our_parameters_return_to_a_model_of_diffusers():
    first, second = (drawn(diffusers.UNet2DModel(**SMALL), seed) for seed in (0, 1))
    config = dict(first.config)
    network = networks.UNet(**weights.diffusers_unet.network_fields(config))
    rules = weights.diffusers_unet.rules(config)
    ours = weights.diffusers_unet.params(config, arrays_of(first), shapes(network, images(config, 3)))
    second.load_state_dict({name: torch.tensor(array) for name, array in weights.rules.to_theirs(ours, rules).items()})
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("build", [diffusers.UNet2DModel, diffusers.DiTTransformer2DModel])
def test_every_setting_of_theirs_and_its_default_is_known(build):
    module = {"UNet2DModel": weights.diffusers_unet, "DiTTransformer2DModel": weights.diffusers_dit}[build.__name__]
    taken = inspect.signature(build.__init__).parameters
    theirs = {name: parameter.default for name, parameter in taken.items() if name != "self"}
    assert theirs.items() <= module.DEFAULTS.items()


def test_embedders_that_differ_between_the_blocks_of_a_dit_are_refused():
    model = drawn(diffusers.DiTTransformer2DModel(**TINY, sample_size=8))
    with pytest.raises(core.errors.CheckpointMismatchError, match="transformer_blocks.1.norm1.emb.*differs from transformer_blocks.0"):
        compared(weights.diffusers_dit, networks.DiT, dict(model.config), arrays_of(model), model, 3, 7)


@pytest.mark.parametrize("changes", DITS.values(), ids=DITS.keys())
def test_a_dit_of_diffusers_gives_the_same_outputs_here(changes):
    model = shared(drawn(diffusers.DiTTransformer2DModel(**changes)))
    config = dict(model.config)
    here, there = compared(
        weights.diffusers_dit, networks.DiT, config, arrays_of(model), model, config["in_channels"], config["num_embeds_ada_norm"]
    )
    assert there.std() > 0.1

    np.testing.assert_allclose(here, there, rtol=0, atol=SAME)
