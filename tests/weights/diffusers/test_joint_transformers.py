"""Transformers of Stable Diffusion 3 and FLUX.1, without torch: tiny ones that diffusers wrote
(make_joint_transformers_fixture.py), and published settings.

tests/peers/test_joint_transformers.py compares live models.
"""

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import diffusers_dit, diffusers_flux, diffusers_joint, diffusers_sd3, rules
from tests.quickly import quickly
from tests.refusals import changed_rows, refusals, settings_rows
from tests.tables import table
from tests.variants import some_slow
from tests.weights.diffusers.published_transformers import (
    DIT_XL_2,
    FLUX_DEV,
    FLUX_FILL,
    FLUX_SCHNELL,
    JOINT,
    NUMBERS,
    STABLE_DIFFUSION_3_MEDIUM,
    STABLE_DIFFUSION_35_LARGE,
    STABLE_DIFFUSION_35_MEDIUM,
)
from tests.weights.diffusers.tiny_joint_transformers import NAMES, converted, example, module_of, shapes, written
from tests.weights.rig import names_and_shapes

pytestmark = pytest.mark.numbers

SAME = 1e-4


# Tiny models.


@pytest.mark.parametrize("name", some_slow(NAMES, ("Stable Diffusion 3",)))
def test_a_tiny_model_of_diffusers_gives_the_same_output_here(name):
    network, inputs, params = converted(name)
    output = written(name)[3]
    result = quickly(networks.pure(network))(params, *inputs)
    assert output.std() > 0.1 and np.abs(output[0] - output[1]).max() > 0.1
    np.testing.assert_allclose(result, output, rtol=SAME, atol=SAME * np.sqrt(np.mean(output**2)))


@table("name", NAMES)
def test_our_parameters_return_under_the_same_names_bit_for_bit(name):
    config, arrays, _, _ = written(name)
    module = NAMES[name]
    theirs = rules.to_theirs(converted(name)[2], module.rules(config))
    unused = module.params.unused(config)
    assert set(theirs) | set(unused) == set(arrays) and not set(theirs) & set(unused)
    assert all(np.array_equal(theirs[key], arrays[key]) for key in theirs)
    assert {key: arrays[key].shape for key in unused} == unused


def test_what_the_last_block_of_stable_diffusion_3_asks_in_vain_does_not_matter_and_returns_as_zeros():
    name = "Stable Diffusion 3.5"
    config, arrays, inputs, _ = written(name)
    network, _, params = converted(name)
    unused = diffusers_sd3.unused(config)
    assert set(unused) == {
        f"transformer_blocks.1.attn.{part}" for part in ("add_q_proj.weight", "add_q_proj.bias", "norm_added_q.weight")
    }
    other = arrays | {key: np.full(shape, np.nan, np.float32) for key, shape in unused.items()}
    like = shapes(network, *converted(name)[1])
    again = diffusers_sd3.params(config, other, like)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, params))
    stored = diffusers_sd3.params.theirs(config, params)
    assert {key: array.shape for key, array in stored.items()} == {key: array.shape for key, array in arrays.items()}
    assert not any(np.any(stored[key]) for key in unused)


def test_weights_of_other_settings_are_refused_by_name():
    config, arrays, _, _ = written("Stable Diffusion 3")
    network, inputs, _ = converted("Stable Diffusion 3")
    like = shapes(network, *inputs)
    without = {key: array for key, array in arrays.items() if key != "transformer_blocks.0.attn.add_k_proj.bias"}
    with pytest.raises(CheckpointMismatchError, match="1 missing: transformer_blocks.0.attn.add_k_proj.bias"):
        diffusers_sd3.params(config, without, like)
    table = arrays | {"pos_embed.pos_embed": arrays["pos_embed.pos_embed"][:, :25]}
    with pytest.raises(CheckpointMismatchError, match=r"pos_embed.pos_embed has shape \(1, 25, 16\)"):
        diffusers_sd3.params(config, table, like)
    config, arrays, _, _ = written("FLUX")
    network, inputs, _ = converted("FLUX")
    with pytest.raises(CheckpointMismatchError, match="1 left over: extra.weight"):
        diffusers_flux.params(config, arrays | {"extra.weight": arrays["proj_out.weight"]}, shapes(network, *inputs))


def test_scales_that_stand_before_shifts_there_stand_behind_them_here():
    kernel, bias = diffusers_joint.scaled_first("norm_out", "output_modulation")
    weight, x = np.random.default_rng(0).normal(size=(6, 4)), np.random.default_rng(1).normal(size=4)
    scale, shift = np.split(weight @ x + np.arange(6.0), 2)
    here = x @ kernel.joined([weight]) + bias.joined([np.arange(6.0)])
    np.testing.assert_allclose(here, np.concatenate([shift, scale]))
    assert (kernel.theirs, bias.theirs) == (("norm_out.linear.weight",), ("norm_out.linear.bias",))


# Published settings.


@table("config", JOINT.values())
def test_a_published_model_is_a_network_of_ours(config):
    network = networks.DiT(**module_of(config).network_fields(config))
    size = config["attention_head_dim"]
    assert (network.width, network.depth, network.heads) == (
        size * network.heads,
        config["num_layers"],
        config["num_attention_heads"],
    )
    assert (network.patch, network.text_attention, network.null_text, network.out_channels) == (2, "joint", False, 16)
    assert (network.text_channels, network.pooled_channels) == (4096, config["pooled_projection_dim"])


def test_norms_of_heads_further_attention_positions_and_what_is_told_are_those_of_each_model():
    def fields(config, *names):
        network = networks.DiT(**module_of(config).network_fields(config))
        return tuple(getattr(network, name) for name in names)

    names = "norm_heads", "own_attention", "position_table"
    assert fields(STABLE_DIFFUSION_3_MEDIUM, *names) == (False, (), 192)
    assert fields(STABLE_DIFFUSION_35_MEDIUM, *names) == (True, tuple(range(13)), 384)
    assert fields(STABLE_DIFFUSION_35_LARGE, *names, "width") == (True, (), 192, 2432)
    names = "norm_heads", "single_depth", "rotary_channels", "guidance"
    assert fields(FLUX_DEV, *names) == fields(FLUX_FILL, *names) == (True, 38, (16, 56, 56), True)
    assert fields(FLUX_SCHNELL, *names) == (True, 38, (16, 56, 56), False)


def number_of_parameters(config):
    """Of a model of theirs, without its table of positions."""
    module = module_of(config)
    network = networks.DiT(**module.network_fields(config))
    unused = module.params.unused(config)
    table = 0 if network.position_table is None else network.position_table**2 * network.width
    return (
        networks.count(shapes(network, *example(config)))
        - table
        + sum(int(np.prod(shape)) for shape in unused.values())
    )


@table("name", ["Stable Diffusion 3 medium", "FLUX.1 [schnell]"])
def test_a_published_model_has_its_number_of_parameters(name):
    """Each further block has as many, so that few of them say the number of all. The last one of Stable Diffusion 3 is
    another kind.
    """
    kinds = [kind for kind in ("num_layers", "num_single_layers") if kind in JOINT[name]]
    first = 3 - len(kinds)
    few = dict.fromkeys(kinds, first)
    base = number_of_parameters(JOINT[name] | few)
    each = {kind: number_of_parameters(JOINT[name] | few | {kind: first + 1}) - base for kind in kinds}
    assert base + sum((JOINT[name][kind] - first) * each[kind] for kind in kinds) == NUMBERS[name]


@pytest.mark.slow
@table("name", ["Stable Diffusion 3 medium", "FLUX.1 [schnell]"])
def test_a_published_model_has_its_parameters_under_its_names(name):
    config = JOINT[name]
    module = module_of(config)
    like = shapes(networks.DiT(**module.network_fields(config)), *example(config))
    assert number_of_parameters(config) == NUMBERS[name]
    unused = module.params.unused(config)
    theirs = names_and_shapes(like, module.rules(config))
    assert ARRAYS[name].items() <= theirs.items()
    assert len(theirs) + len(unused) == {"Stable Diffusion 3 medium": 683, "FLUX.1 [schnell]": 1156}[name]


ARRAYS = {
    "Stable Diffusion 3 medium": {
        "pos_embed.pos_embed": (1, 192**2, 1536),
        "pos_embed.proj.weight": (1536, 16, 2, 2),
        "time_text_embed.timestep_embedder.linear_1.weight": (1536, 256),
        "time_text_embed.text_embedder.linear_1.weight": (1536, 2048),
        "context_embedder.weight": (1536, 4096),
        "transformer_blocks.0.norm1_context.linear.weight": (9216, 1536),
        "transformer_blocks.23.norm1_context.linear.weight": (3072, 1536),
        "transformer_blocks.22.attn.to_add_out.bias": (1536,),
        "transformer_blocks.22.ff_context.net.0.proj.weight": (6144, 1536),
        "transformer_blocks.23.attn.add_v_proj.weight": (1536, 1536),
        "proj_out.weight": (64, 1536),
    },
    "FLUX.1 [schnell]": {
        "x_embedder.weight": (3072, 64),
        "context_embedder.weight": (3072, 4096),
        "time_text_embed.text_embedder.linear_1.weight": (3072, 768),
        "transformer_blocks.18.norm1_context.linear.weight": (18432, 3072),
        "transformer_blocks.18.attn.norm_added_k.weight": (128,),
        "transformer_blocks.18.attn.to_add_out.weight": (3072, 3072),
        "single_transformer_blocks.37.norm.linear.weight": (9216, 3072),
        "single_transformer_blocks.37.attn.norm_q.weight": (128,),
        "single_transformer_blocks.37.proj_mlp.weight": (12288, 3072),
        "single_transformer_blocks.37.proj_out.weight": (3072, 15360),
        "norm_out.linear.weight": (6144, 3072),
        "proj_out.weight": (64, 3072),
    },
}


def test_dit_xl_2_is_a_network_of_ours_whose_row_after_the_last_class_is_that_of_no_label():
    fields = diffusers_dit.network_fields(DIT_XL_2)
    network = networks.DiT(**fields)
    assert network == networks.DiT(
        2, 1152, 28, 16, num_classes=1000, out_channels=8, mlp_epsilon=1e-5, frequency_shift=1
    )
    example = np.zeros((1, 8, 8, 4)), np.zeros(1), np.zeros(1, np.int32)
    like = jax.eval_shape(lambda: networks.init(network.clone(depth=1), jax.random.key(0), *example))
    assert trees.paths(like)["embedding/label"].shape == (1001, 1152)
    saved_again = {
        "attention_type": "default",
        "caption_channels": None,
        "interpolation_scale": None,
        "use_additional_conditions": None,
    }
    assert diffusers_dit.network_fields(DIT_XL_2 | saved_again) == fields


# Settings without a match.

UNMATCHED = {
    diffusers_sd3: {
        "qk_norm": ["layer_norm", True],
        "caption_projection_dim": [1152],
        "dual_attention_layers": [[24], [-1], [0.5], None],
        "pos_embed_max_size": [0, None],
        "num_layers": [0, 24.0],
        "patch_size": [0, [2, 2]],
        "out_channels": ["16"],
        "pooled_projection_dim": [None],
        "joint_attention_dim": [True],
        "axes_dims_rope": [[16, 56, 56]],
        "_class_name": ["SD3Transformer3DModel", "FluxTransformer2DModel"],
    },
    diffusers_flux: {
        "patch_size": [2],
        "in_channels": [65, 0],
        "out_channels": [3, "64"],
        "axes_dims_rope": [[16, 56], [16, 56, 64], [15, 57, 56], [0, 64, 64], None],
        "guidance_embeds": [None, 1],
        "num_single_layers": [0],
        "num_layers": [0],
        "pooled_projection_dim": ["768"],
        "qk_norm": ["rms_norm"],
        "_class_name": ["Flux2Transformer2DModel"],
    },
}
HEADS = [({"attention_head_dim": 64}, r"axes_dims_rope = \(16, 56, 56\)")]
test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(
    refusals(
        *settings_rows(diffusers_sd3.network_fields, STABLE_DIFFUSION_3_MEDIUM, UNMATCHED[diffusers_sd3], ConfigError),
        *settings_rows(diffusers_flux.network_fields, FLUX_DEV, UNMATCHED[diffusers_flux], ConfigError),
        *changed_rows(diffusers_flux.network_fields, FLUX_DEV, HEADS, ConfigError),
    )
)
