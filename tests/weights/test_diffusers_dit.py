"""DiTTransformer2DModel's configuration and names, without torch; tests/peers/test_weights.py compares the outputs."""

import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.weights import diffusers_dit as dit
from gendiff.weights import rules
from tests.weights import models

DIT_S_2 = {"_class_name": "DiTTransformer2DModel", "num_attention_heads": 6, "attention_head_dim": 64, "num_layers": 12}
TINY = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 3, "in_channels": 3, "num_embeds_ada_norm": 7, "out_channels": 5}
LEGACY = {"_class_name": "Transformer2DModel", "cross_attention_dim": None, "num_vector_embeds": None, "only_cross_attention": False}


@pytest.mark.parametrize("config", [TINY, TINY | {"patch_size": 4}], ids=["patches of 2", "patches of 4"])
def test_our_parameters_return_from_their_names_bit_for_bit(config):
    ours = models.drawn(dit, config)
    assert models.equal(dit.params(config, rules.to_theirs(ours, dit.rules(config)), models.shapes(dit, config)), ours)


def test_names_and_shapes_are_those_of_the_model():
    theirs = {name: array.shape for name, array in rules.to_theirs(models.drawn(dit, DIT_S_2), dit.rules(DIT_S_2)).items()}
    known = {
        "pos_embed.proj.weight": (384, 4, 2, 2),
        "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1.weight": (384, 256),
        "transformer_blocks.11.norm1.emb.class_embedder.embedding_table.weight": (1001, 384),
        "transformer_blocks.11.norm1.linear.weight": (2304, 384),
        "transformer_blocks.3.attn1.to_v.bias": (384,),
        "transformer_blocks.3.attn1.to_out.0.weight": (384, 384),
        "transformer_blocks.3.ff.net.0.proj.weight": (1536, 384),
        "transformer_blocks.3.ff.net.2.weight": (384, 1536),
        "proj_out_1.weight": (768, 384),
        "proj_out_2.weight": (16, 384),
    }
    assert known.items() <= theirs.items()
    assert len(theirs) == 2 + 12 * (5 + 2 + 8 + 4) + 4


def test_dit_s_2_is_a_network_of_ours():
    network = networks.DiT(2, 384, 12, 6, num_classes=1000, out_channels=4, mlp_epsilon=1e-5, frequency_shift=1)
    assert networks.DiT(**dit.network_fields(DIT_S_2)) == network


def test_published_files_may_name_the_class_and_settings_of_before():
    assert dit.network_fields(DIT_S_2 | LEGACY) == dit.network_fields(DIT_S_2)


def test_embedders_that_differ_between_blocks_are_refused_by_name():
    theirs = rules.to_theirs(models.drawn(dit, TINY), dit.rules(TINY))
    name = "transformer_blocks.2.norm1.emb.timestep_embedder.linear_2.weight"
    theirs[name] = theirs[name] * np.float32(1.001)
    with pytest.raises(CheckpointMismatchError) as caught:
        dit.params(TINY, theirs, models.shapes(dit, TINY))
    assert f"1 wrong: {name} differs from {name.replace('s.2', 's.0')}" in str(caught.value)


def test_weights_of_a_deeper_model_are_refused():
    deeper = TINY | {"num_layers": 4}
    theirs = rules.to_theirs(models.drawn(dit, deeper), dit.rules(deeper))
    with pytest.raises(CheckpointMismatchError, match="19 left over: transformer_blocks.3.attn1"):
        dit.params(TINY, theirs, models.shapes(dit, TINY))


UNSUPPORTED = {
    "dropout": 0.1,
    "attention_bias": False,
    "activation_fn": "geglu",
    "norm_type": "layer_norm",
    "norm_elementwise_affine": True,
    "num_embeds_ada_norm": None,
    "cross_attention_dim": 768,
    "caption_channels": 4096,
    "_class_name": "PixArtTransformer2DModel",
    "num_layers": "12",
    "patch_size": 2.0,
}


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED.items())
def test_a_setting_without_a_match_is_refused_by_name_and_value(name, value):
    with pytest.raises(ConfigError) as caught:
        dit.network_fields(DIT_S_2 | {name: value})
    assert f"{name} = {value!r}" in str(caught.value)
