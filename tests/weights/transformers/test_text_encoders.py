"""Configurations and names of encoders of text, without torch; tests/peers/test_text_encoders.py compares the
outputs.
"""

import functools
import json

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, ConfigError
from gendiff.networks import text_encoder
from gendiff.weights import open_clip_text, rules, transformers_bert, transformers_clip
from tests.refusals import refusals, settings_rows
from tests.tables import table
from tests.weights import rig

pytestmark = pytest.mark.numbers

STABLE_DIFFUSION_1 = {
    "_name_or_path": "openai/clip-vit-large-patch14",
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 1,
    "projection_dim": 768,
    "torch_dtype": "float32",
    "transformers_version": "4.22.0.dev0",
    "vocab_size": 49408,
}
STABLE_DIFFUSION_2 = STABLE_DIFFUSION_1 | {
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 23,
}
MINI_LM = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "num_hidden_layers": 6,
    "position_embedding_type": "absolute",
    "transformers_version": "4.8.2",
    "use_cache": True,
}
VIT_H_14 = {
    "model_cfg": {
        "embed_dim": 1024,
        "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]},
}
SMALL = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CLIP = {**SMALL, "vocab_size": 20, "eos_token_id": 19, "max_position_embeddings": 6}
PROJECTED = {**CLIP, "architectures": ["CLIPTextModelWithProjection"], "projection_dim": 5}
BERT = {**SMALL, "vocab_size": 20, "max_position_embeddings": 6}
OPEN_CLIP = {
    "embed_dim": 5,
    "text_cfg": {"context_length": 6, "vocab_size": 20, "width": 8, "heads": 2, "layers": 2, "mlp_ratio": 2.0},
}
CONFIGS = {
    "CLIP": (transformers_clip, CLIP),
    "CLIP with its projection": (transformers_clip, PROJECTED),
    "BERT": (transformers_bert, BERT),
    "OpenCLIP": (open_clip_text, OPEN_CLIP),
}
all_encoders = table("module, config", CONFIGS.values())


def built(module, config):
    return networks.TextEncoder(**module.network_fields(config))


def shapes(module, config):
    return _shapes(module, json.dumps(config))


def random_pair(module, config):
    """(parameters of our network, the same by their names)."""
    return rig.random_pair(shapes(module, config), module.rules(config))


@functools.cache
def _shapes(module, text):
    network = built(module, json.loads(text))
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 4), np.int32)))


# Names and shapes.


@all_encoders
def test_our_parameters_return_from_their_names_bit_for_bit(module, config):
    ours, theirs = random_pair(module, config)
    assert rig.equal(module.params(config, theirs, shapes(module, config)), ours)
    assert sum(array.size for array in theirs.values()) == networks.count(ours)


NAMES = {
    "CLIP with its projection": {
        "text_model.embeddings.token_embedding.weight": (20, 8),
        "text_model.embeddings.position_embedding.weight": (6, 8),
        "text_model.encoder.layers.1.self_attn.k_proj.weight": (8, 8),
        "text_model.encoder.layers.1.self_attn.out_proj.bias": (8,),
        "text_model.encoder.layers.0.layer_norm2.weight": (8,),
        "text_model.encoder.layers.0.mlp.fc1.weight": (16, 8),
        "text_model.final_layer_norm.bias": (8,),
        "text_projection.weight": (5, 8),
    },
    "BERT": {
        "embeddings.word_embeddings.weight": (20, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "embeddings.LayerNorm.weight": (8,),
        "encoder.layer.1.attention.self.value.bias": (8,),
        "encoder.layer.0.attention.output.LayerNorm.bias": (8,),
        "encoder.layer.0.intermediate.dense.weight": (16, 8),
        "encoder.layer.0.output.dense.weight": (8, 16),
    },
    "OpenCLIP": {
        "positional_embedding": (6, 8),
        "transformer.resblocks.1.attn.in_proj_weight": (24, 8),
        "transformer.resblocks.1.attn.in_proj_bias": (24,),
        "transformer.resblocks.0.mlp.c_proj.weight": (8, 16),
        "ln_final.weight": (8,),
        "text_projection": (8, 5),
    },
}


@table("name", NAMES)
def test_names_and_shapes_are_those_of_the_model(name):
    theirs = {name: array.shape for name, array in random_pair(*CONFIGS[name])[1].items()}
    assert NAMES[name].items() <= theirs.items()
    assert len(theirs) == {"CLIP with its projection": 37, "BERT": 37, "OpenCLIP": 29}[name]


def test_the_same_model_is_the_same_under_the_names_of_openclip_with_queries_keys_and_values_in_one_array():
    ours, theirs = random_pair(transformers_clip, PROJECTED)
    fused = rules.to_theirs(ours, open_clip_text.rules(OPEN_CLIP))
    parts = [theirs[f"text_model.encoder.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
    np.testing.assert_array_equal(fused["transformer.resblocks.1.attn.in_proj_weight"], np.concatenate(parts))
    np.testing.assert_array_equal(fused["text_projection"], theirs["text_projection.weight"].T)


@table(
    "name, left_out",
    [
        ("CLIP", {"text_model.embeddings.position_ids": np.arange(6)[None]}),
        (
            "BERT",
            {
                "embeddings.position_ids": np.arange(6)[None],
                "pooler.dense.weight": np.ones((8, 8)),
                "pooler.dense.bias": np.ones(8),
            },
        ),
        (
            "OpenCLIP",
            {"visual.conv1.weight": np.ones((8, 3, 2, 2)), "logit_scale": np.ones(()), "attn_mask": np.ones((6, 6))},
        ),
    ],
)
def test_what_is_no_parameter_of_the_encoder_is_left_out_by_its_name_and_nothing_else_is(name, left_out):
    module, config = CONFIGS[name]
    ours, theirs = random_pair(module, config)
    assert rig.equal(module.params(config, theirs | left_out, shapes(module, config)), ours)
    with pytest.raises(CheckpointMismatchError, match="1 left over: lm_head.weight"):
        module.params(config, theirs | {"lm_head.weight": np.ones((20, 8))}, shapes(module, config))
    missing = dict(list(theirs.items())[1:])
    with pytest.raises(CheckpointMismatchError, match=f"1 missing: {next(iter(theirs))}"):
        module.params(config, missing, shapes(module, config))


@table("name, before, after", [("OpenCLIP", "", "text."), ("CLIP", "text_model.", "")])
def test_names_with_another_beginning_are_read(name, before, after):
    module, config = CONFIGS[name]
    ours, theirs = random_pair(module, config)
    other = {f"{after}{name.removeprefix(before)}": array for name, array in theirs.items()}
    assert other.keys() != theirs.keys() and rig.equal(module.params(config, other, shapes(module, config)), ours)


# Settings.


@table(
    "module, config, network",
    [
        (transformers_clip, STABLE_DIFFUSION_1, text_encoder.clip_vit_l_14(end=49407)),
        (transformers_clip, STABLE_DIFFUSION_1 | {"eos_token_id": 49407}, text_encoder.clip_vit_l_14(end=49407)),
        (transformers_clip, STABLE_DIFFUSION_2, text_encoder.open_clip_vit_h_14(depth=23, end=49407)),
        (transformers_bert, MINI_LM | {"num_attention_heads": 12}, text_encoder.mini_lm_l6(normalize=False)),
        (open_clip_text, VIT_H_14, text_encoder.open_clip_vit_h_14(projection=1024, end=49407)),
        (
            open_clip_text,
            {"embed_dim": 768, "quick_gelu": True, "text_cfg": {"width": 768, "heads": 12}},
            text_encoder.clip_vit_l_14(projection=768, end=49407),
        ),
    ],
)
def test_a_configuration_is_a_network_of_ours(module, config, network):
    assert built(module, config) == network


UNMATCHED = {
    "CLIP": {
        "architectures": [["CLIPModel"], "CLIPTextModel"],
        "model_type": ["clip"],
        "hidden_act": ["relu"],
        "attention_dropout": [0.1],
        "intermediate_size": [12],
        "eos_token_id": [20, None],
        "num_hidden_layers": ["2"],
        "layer_norm_eps": ["1e-5"],
        "text_config": [{"hidden_size": 8}],
    },
    "BERT": {
        "architectures": [["RobertaModel"]],
        "model_type": ["roberta"],
        "position_embedding_type": ["relative_key"],
        "is_decoder": [True],
        "add_cross_attention": [True],
        "hidden_act": ["silu"],
        "embedding_size": [128],
    },
}
OF_THE_TOWER = {
    "mlp_ratio": [2.5, 0.5],
    "pool_type": ["last"],
    "no_causal_mask": [True],
    "embed_cls": [True],
    "ls_init_value": [0.1],
    "hf_model_name": ["roberta-base"],
}


def unmatched(name):
    return settings_rows(CONFIGS[name][0].network_fields, CONFIGS[name][1], UNMATCHED[name], ConfigError)


def with_tower(tower):
    return open_clip_text.network_fields(OPEN_CLIP | {"text_cfg": tower})


test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(
    refusals(
        *unmatched("CLIP"),
        *unmatched("BERT"),
        *settings_rows(with_tower, OPEN_CLIP["text_cfg"], OF_THE_TOWER, ConfigError),
    )
)
test_what_is_no_configuration_of_openclip_is_refused = refusals(
    (lambda: open_clip_text.network_fields(None), "must be a mapping with text_cfg", ConfigError),
    (lambda: open_clip_text.network_fields([1]), "must be a mapping with text_cfg", ConfigError),
    (lambda: open_clip_text.network_fields({"embed_dim": 5}), "must be a mapping with text_cfg", ConfigError),
)
