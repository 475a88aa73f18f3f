"""Language models of transformers: configurations, names, folders there and back.

The logits are those that transformers gave (make_language_models_fixture.py).
"""

import functools
import json
import re
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from gendiff import language, networks
from gendiff.core import packed, trees
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError
from gendiff.networks import language_model
from gendiff.weights import (
    files,
    language_models,
    packed_reading,
    quantised,
    streamed,
    transformers_gemma,
    transformers_gpt2,
    transformers_llama,
    transformers_mistral,
    transformers_qwen,
    transformers_rotary,
    transformers_windows,
)
from tests.quickly import quickly
from tests.refusals import changed_rows, refusals
from tests.tables import table
from tests.variants import some_slow
from tests.weights import rig
from tests.weights.transformers import tiny_language_models
from tests.weights.transformers.tiny_language_models import CONFIGS, TOKENS

pytestmark = pytest.mark.numbers

SAME = 2e-5
all_models = table("name", CONFIGS)


@functools.cache
def random_model(name):
    """(network, its shapes, parameters of ours, the same by their names)."""
    module = language_models.module_of(CONFIGS[name])
    network = networks.LanguageModel(**module.network_fields(CONFIGS[name]))
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS))
    ours = tiny_language_models.random_params(shapes)
    return network, shapes, ours, language_models.naming.to_theirs(ours, module.rules(CONFIGS[name]))


@functools.cache
def fixture():
    return safetensors.numpy.load_file(Path(__file__).with_name("language_models_fixture.safetensors"))


def logits_of(network, params):
    return np.asarray(quickly(lambda params: networks.pure(network)(params, TOKENS).logits)(params))


@all_models
def test_a_folder_that_we_write_returns_bit_for_bit(tmp_path, name):
    network, shapes, ours, theirs = random_model(name)
    language_models.save(tmp_path / "new", ours, CONFIGS[name])
    again = language_models.load(tmp_path / "new")
    assert networks.LanguageModel(**again.fields) == network and rig.equal(again.params(shapes), ours)
    stored = files.load_folder(tmp_path / "new", "model")
    assert stored.config == CONFIGS[name] | {"dtype": "float32"} and stored.arrays.keys() == theirs.keys()
    assert sum(array.size for array in stored.arrays.values()) == networks.count(ours)


QUICK = "Llama", "Llama 3", "Qwen 2 with a window", "Qwen 3", "GPT-2", "Gemma 3"


@pytest.mark.parametrize("name", some_slow(CONFIGS, [name for name in CONFIGS if name not in QUICK]))
def test_logits_are_those_of_transformers(name):
    network, _, ours, _ = random_model(name)
    reference = fixture()[name]
    logits = logits_of(network, ours)
    assert reference.std() > 0.3
    np.testing.assert_allclose(logits, reference, atol=SAME * max(1, np.abs(reference).max()))


WITHOUT = {
    "Llama of a wide head": {"rotary_stretch": None},
    "Llama of transformers 5": {"rotary_stretch": None},
    "Qwen 3 with some windows": {"global_blocks": ()},
    "Mistral": {"window": 32},
    "Gemma 2": {"window": 32},
    "Gemma 3": {"rotary_stretch": None},
    "Gemma 3 of transformers 5": {"local_rotary_base": None},
}
"""What each model would be without; of Gemma 2 these one by one, too."""
CONTROLS = [*WITHOUT.items(), *(("Gemma 2", {each: None}) for each in ("score_cap", "logit_cap", "query_scalar"))]
CONTROLS += [("Gemma 2", {"scaled_tokens": False}), ("Gemma 3", {"window": 32})]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "change"), CONTROLS)
def test_without_one_of_its_settings_a_model_is_another(name, change):
    network, _, ours, _ = random_model(name)
    fields = {field: getattr(network, field) for field in change}
    assert fields != change
    difference = np.abs(logits_of(network.clone(**change), ours) - fixture()[name]).max((0, 2))
    assert difference.max() > 1e-2
    if "window" in change:  # the first tokens see all in any case
        assert difference[: network.window].max() < SAME * np.abs(fixture()[name]).max() < difference[network.window]


@pytest.mark.parametrize("name", some_slow(WITHOUT, [name for name in WITHOUT if name != "Gemma 3"]))
def test_token_by_token_with_a_cache_the_logits_are_those_of_the_text_at_once(name):
    network, _, ours, _ = random_model(name)
    predict = quickly(networks.pure(network))
    answer = predict(ours, TOKENS[:, :4], language.cache.full(network, 2, 10))
    logits = [answer.logits]
    for at in range(4, 10):
        answer = predict(ours, TOKENS[:, at : at + 1], answer.cache)
        logits.append(answer.logits)
    np.testing.assert_allclose(np.concatenate(logits, 1), fixture()[name], atol=SAME * 10)


NAMES = {
    "Llama": {
        "model.embed_tokens.weight": (24, 16),
        "model.layers.1.self_attn.q_proj.weight": (16, 16),
        "model.layers.1.self_attn.v_proj.weight": (8, 16),
        "model.layers.0.mlp.up_proj.weight": (20, 16),
        "model.layers.0.post_attention_layernorm.weight": (16,),
        "lm_head.weight": (24, 16),
    },
    "Qwen 2": {"model.layers.0.self_attn.k_proj.bias": (8,), "model.norm.weight": (16,)},
    "Qwen 3": {"model.layers.0.self_attn.q_norm.weight": (6,), "model.layers.1.self_attn.o_proj.weight": (16, 24)},
    "Gemma 2": {"model.layers.1.post_feedforward_layernorm.weight": (16,)},
    "Gemma 3": {
        "model.layers.2.pre_feedforward_layernorm.weight": (16,),
        "model.layers.0.self_attn.q_norm.weight": (6,),
    },
    "GPT-2": {
        "transformer.h.1.attn.c_attn.weight": (16, 48),
        "transformer.h.0.mlp.c_proj.bias": (16,),
        "transformer.wpe.weight": (32, 16),
    },
}


@table("name", NAMES)
def test_names_and_shapes_are_those_of_the_model(name):
    theirs = {each: array.shape for each, array in random_model(name)[3].items()}
    assert NAMES[name].items() <= theirs.items()
    assert len(theirs) == {"Llama": 21, "Qwen 2": 26, "Qwen 3": 33, "Gemma 2": 24, "Gemma 3": 41, "GPT-2": 28}[name]


def test_a_model_in_parts_is_the_model(tmp_path):
    _, shapes, ours, theirs = random_model("Llama")
    parts = [dict(list(theirs.items())[:9]), dict(list(theirs.items())[9:])]
    for number, part in enumerate(parts):
        safetensors.numpy.save_file(part, tmp_path / f"model-{number}.safetensors")
    places = {each: f"model-{number}.safetensors" for number, part in enumerate(parts) for each in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["Llama"]))
    assert rig.equal(language_models.load(tmp_path).params(shapes), ours)


@table(
    "name, left_out",
    [
        ("Llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}),
        (
            "GPT-2",
            {"transformer.h.0.attn.bias": np.ones((1, 1, 32, 32)), "transformer.h.1.attn.masked_bias": np.ones(())},
        ),
    ],
)
def test_buffers_are_left_out_by_their_names_and_nothing_else_is(name, left_out):
    _, shapes, ours, theirs = random_model(name)
    module = language_models.module_of(CONFIGS[name])
    assert rig.equal(module.params(CONFIGS[name], theirs | left_out, shapes), ours)
    with pytest.raises(
        CheckpointMismatchError, match="1 left over: score.weight|1 left over: transformer.score.weight"
    ):
        module.params(CONFIGS[name], theirs | {"score.weight": np.ones(2)}, shapes)


@table("name, table", [("Qwen 2", transformers_llama.TABLE), ("GPT-2", transformers_gpt2.TABLE)])
def test_a_last_layer_that_repeats_a_tied_table_is_left_out_and_another_one_is_refused(name, table):
    _, shapes, ours, theirs = random_model(name)
    module = language_models.module_of(CONFIGS[name])
    assert rig.equal(module.params(CONFIGS[name], theirs | {"lm_head.weight": theirs[table]}, shapes), ours)
    with pytest.raises(CheckpointMismatchError, match="1 left over: lm_head.weight"):
        module.params(CONFIGS[name], theirs | {"lm_head.weight": theirs[table] + 1}, shapes)


def test_gemma_3_that_reads_pictures_is_read_for_its_texts(tmp_path):
    _, shapes, ours, theirs = random_model("Gemma 3")
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {}}
    config["text_config"] = {name: value for name, value in CONFIGS["Gemma 3"].items() if name != "architectures"}
    module = language_models.module_of(config)
    assert module.network_fields(config) == module.network_fields(CONFIGS["Gemma 3"])
    pictures = {"vision_tower.x": np.ones(2), "model.multi_modal_projector.y": np.ones(2)}
    for rename in ("language_model.{}".format, lambda name: name.replace("model.", "model.language_model.", 1)):
        named = {rename(name): array for name, array in theirs.items()} | pictures
        assert rig.equal(module.params(config, named, shapes), ours)
    for change, message in (({"audio": 1}, "audio = 1"), ({"text_config": None}, "text_config = None")):
        with pytest.raises(ConfigError, match=message):
            module.network_fields(config | change)
    with pytest.raises(ConfigError, match="is read for its texts, and not written"):
        language_models.save(tmp_path / "new", ours, config)


def test_the_first_files_of_gpt2_have_names_without_a_beginning():
    _, shapes, ours, theirs = random_model("GPT-2")
    short = {each.removeprefix("transformer."): array for each, array in theirs.items()}
    assert short.keys() != theirs.keys() and rig.equal(transformers_gpt2.params(CONFIGS["GPT-2"], short, shapes), ours)


# Settings.

SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "is_llama_config": True,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_interleaved": False,
    "rope_scaling": None,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}},
    "transformers_version": "4.42.3",
    "use_cache": True,
    "vocab_size": 49152,
}
LLAMA_3 = SMOLLM2 | {
    "eos_token_id": [128001, 128008, 128009],
    "head_dim": 64,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
}


def test_a_configuration_is_a_network_of_ours():
    assert networks.LanguageModel(**transformers_llama.network_fields(SMOLLM2)) == language_model.smollm2_135m(
        bias=False, key_value_heads=3
    )
    stretched = {"rotary_base": 500_000.0, "rotary_stretch": (32.0, 1.0, 4.0, 8192)}
    assert transformers_llama.network_fields(LLAMA_3) == transformers_llama.network_fields(SMOLLM2) | stretched
    assert networks.LanguageModel(**transformers_gpt2.network_fields({})) == language_model.gpt2()


def test_rotary_positions_read_the_same_in_both_versions():
    older = {"rope_theta": 5e5, "rope_scaling": LLAMA_3["rope_scaling"], "rope_parameters": None}
    newer = {"rope_theta": None, "rope_scaling": None, "rope_parameters": LLAMA_3["rope_scaling"] | {"rope_theta": 5e5}}
    plain = {"rotary_base": 1e4, "rotary_stretch": None}
    assert transformers_rotary.fields("X", older) == transformers_rotary.fields("X", newer)
    assert transformers_rotary.fields("X", transformers_rotary.DEFAULTS) == plain
    assert (
        transformers_rotary.fields("X", transformers_rotary.DEFAULTS | {"rope_parameters": {"rope_type": "default"}})
        == plain
    )


def test_windows_are_those_of_the_layers_that_have_one():
    windowed = CONFIGS["Qwen 2 with a window"]
    fields = transformers_qwen.network_fields
    assert fields(windowed)["window"] == 3 and fields(CONFIGS["Qwen 2"])["window"] is None
    assert fields(windowed | {"max_window_layers": 2})["window"] is None
    some = fields(windowed | {"max_window_layers": 1})
    assert (some["window"], some["global_blocks"]) == (3, (0,))
    layers = {"layer_types": ["sliding_attention", "full_attention"]}
    assert transformers_gemma.network_fields(CONFIGS["Gemma 2"] | layers)["global_blocks"] == (1,)
    assert transformers_gemma.network_fields({"model_type": "gemma3_text"})["global_blocks"] == (5, 11, 17, 23)
    assert transformers_mistral.network_fields(CONFIGS["Mistral"] | {"sliding_window": None})["window"] is None
    assert transformers_mistral.network_fields({"model_type": "mistral"})["window"] == 4096
    values, layers = {"num_hidden_layers": 2, "sliding_window": 5}, ("sliding_attention", "full_attention")
    assert transformers_windows.fields("X", values, layers) == {"window": 5, "global_blocks": (1,)}
    assert fields(windowed | {"layer_types": ["sliding_attention"] * 2, "max_window_layers": 28})["window"] == 3
    assert fields(windowed | {"use_sliding_window": False})["window"] is None


ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
UNMATCHED = {
    "Llama": [
        ({"architectures": ["LlamaModel"]}, "architectures = ('LlamaModel',)"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ({"rope_interleaved": True}, "rope_interleaved = True"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "only the types 'default', 'linear' and 'llama3'"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, "'linear' needs the number factor >= 1"),
        ({"rope_scaling": ROPE}, "'llama3' needs the numbers"),
        (
            {"rope_parameters": ROPE | {"original_max_position_embeddings": 8, "factor": 0.5}},
            "'llama3' needs factor >= 1",
        ),
        (
            {"rope_parameters": {"rope_theta": 5.0}, "rope_theta": 6.0},
            "rope_theta = 6.0 is not supported, rope_parameters says 5.0",
        ),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"rope_parameters": {"short_factor": [1]}}, "is unknown"),
        ({"rope_theta": "1e4"}, "rope_theta = '1e4'"),
        (
            {"num_key_value_heads": 3},
            "num_key_value_heads = 3 is not supported, it must divide num_attention_heads = 4",
        ),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, "head_dim = None is not supported"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        (
            {"quantization_config": {"bits": 4}},
            "quantization_config = {'bits': 4} is a setting that these rules do not know",
        ),
    ],
    "Qwen 2": [
        ({"architectures": ["Qwen2MoeForCausalLM"]}, "architectures = ['Qwen2MoeForCausalLM']"),
        ({"layer_types": ["full_attention"]}, "layer_types = ['full_attention'] is not supported, 'full_attention' or"),
        ({"layer_types": ["linear_attention"] * 2}, "layer_types = ['linear_attention', 'linear_attention']"),
        ({"layer_types": ["sliding_attention"] * 2}, "sliding_window = None is not supported, 2 layers have one"),
        ({"attention_bias": True}, "attention_bias = True is a setting that these rules do not know"),
    ],
    "Mistral": [
        ({"sliding_window": 0}, "sliding_window = 0 is not supported, 2 layers have one"),
        ({"attention_bias": True}, "attention_bias = True is a setting that these rules do not know"),
        ({"layer_types": ["full_attention"] * 2}, "is a setting that these rules do not know"),
    ],
    "Gemma 2": [
        ({"architectures": ["GemmaForCausalLM"]}, "architectures = ['GemmaForCausalLM']"),
        ({"hidden_activation": "relu"}, "hidden_activation = 'relu'"),
        ({"attn_logit_softcapping": 0.0}, "attn_logit_softcapping = 0.0 is not supported, it must be above 0"),
        ({"query_pre_attn_scalar": 0}, "query_pre_attn_scalar = 0"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
        ({"sliding_window_size": 4}, "sliding_window_size = 4 is not supported, sliding_window = 3"),
        ({"sliding_window_pattern": 2}, "sliding_window_pattern = 2 is a setting that these rules do not know"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "only the types"),
    ],
    "Gemma 3": [
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0 is not supported, only None"),
        ({"rope_parameters": {"rope_type": "default"}}, "only objects named 'full_attention' and 'sliding_attention'"),
        ({"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}}, "must be of type"),
        ({"sliding_window_pattern": 0}, "sliding_window_pattern = 0"),
    ],
    "GPT-2": [
        ({"scale_attn_weights": False}, "scale_attn_weights = False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ({"add_cross_attention": True}, "add_cross_attention = True"),
        ({"activation_function": "relu"}, "activation_function = 'relu'"),
        ({"n_head": 3}, "n_head = 3 is not supported, it must divide 16"),
        ({"n_ctx": 64}, "n_ctx = 64"),
    ],
}


def unmatched(name):
    changes = [(change, re.escape(words)) for change, words in UNMATCHED[name]]
    return changed_rows(language_models.module_of(CONFIGS[name]).network_fields, CONFIGS[name], changes, ConfigError)


test_a_setting_without_a_match_is_refused_by_name_and_value = pytest.mark.fault(
    "weights: a configuration that cannot be followed"
)(refusals(*(row for name in UNMATCHED for row in unmatched(name))))


# As they are stored, or packed as they are read.


def folder_of(folder, name, dtype):
    """(its door, the network, its shapes) of a random model whose file has this dtype."""
    network, shapes, ours, _ = random_model(name)
    language_models.save(folder, jax.tree.map(lambda leaf: leaf.astype(dtype), ours), CONFIGS[name])
    return language_models.load(folder), network, shapes


@pytest.mark.slow
@table(
    "name, dtype",
    [
        ("Llama", ml_dtypes.bfloat16),
        ("Llama 3", np.float16),
        ("Qwen 2", ml_dtypes.float8_e4m3fn),
        ("Gemma 3", ml_dtypes.bfloat16),
        ("GPT-2", np.float16),
    ],
)
def test_weights_as_stored_have_the_logits_of_the_same_numbers_in_float32(tmp_path, name, dtype):
    model, network, shapes = folder_of(tmp_path, name, dtype)
    stored, full = model.params(shapes, maker=packed_reading.as_stored), model.params(shapes)
    leaves = trees.paths(stored, is_leaf=packed.is_packed)
    assert {path for path, leaf in leaves.items() if packed.is_packed(leaf)} == {
        path for path in trees.paths(full) if path.endswith(("kernel", "token"))
    }
    np.testing.assert_allclose(logits_of(network, stored), logits_of(network, full), rtol=0, atol=1e-5)


@pytest.mark.slow
@table("kind", [quantised.int8(), quantised.int4(search=True, scale_dtype="float16")])
def test_weights_packed_as_they_are_read_have_the_logits_of_their_unpacked_numbers(tmp_path, kind):
    model, network, shapes = folder_of(tmp_path, "Llama", ml_dtypes.bfloat16)
    small = model.params(shapes, maker=packed_reading.maker(quantised.linear(kind, tables=True)))
    assert all(packed.is_packed(small[name]["qkv"]["kernel"]) for name in ("block_0", "block_1"))
    expected = logits_of(network, quantised.dequantise(small))
    np.testing.assert_allclose(logits_of(network, small), expected, rtol=0, atol=2e-3 * np.std(expected))
    assert np.abs(logits_of(network, model.params(shapes)) - expected).max() > 5e-3 * np.std(expected)


@pytest.mark.fault("weights: names missing or left over")
@table(
    "change, message",
    [({"vocab_size": 25}, "needs (25, 16)"), ({"attention_bias": True}, "8 missing: model.layers.0.self_attn.o_proj")],
)
def test_names_and_shapes_of_a_folder_are_checked_before_any_array_is_read(tmp_path, monkeypatch, change, message):
    language_models.save(tmp_path, random_model("Llama")[2], CONFIGS["Llama"])
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["Llama"] | change))
    monkeypatch.setattr(streamed.StoredArray, "__array__", lambda *_, **__: pytest.fail("an array is read"))
    monkeypatch.setattr(safetensors.numpy, "load_file", lambda *_: pytest.fail("all arrays are read"))
    model = language_models.load(tmp_path)
    network = networks.LanguageModel(**model.fields)
    with pytest.raises(CheckpointMismatchError, match=re.escape(message)):
        model.params(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS)))


# The door.


def test_a_kind_is_known_by_its_architecture_or_its_type():
    assert language_models.module_of({"model_type": "qwen3"}) is transformers_qwen
    assert language_models.module_of({"architectures": ["GPT2LMHeadModel"]}) is transformers_gpt2
    for config in ({}, {"model_type": "mamba"}, {"architectures": ["GemmaForCausalLM"], "model_type": "llama"}):
        with pytest.raises(ConfigError, match="has no rules here, only LlamaForCausalLM, "):
            language_models.module_of(config)


def test_parameters_of_another_configuration_are_not_written(tmp_path):
    _, _, ours, _ = random_model("Llama")
    for change, message in (
        ({"num_hidden_layers": 3}, "6 parameters of the configuration are not there, such as block_2/mlp_0/kernel"),
        ({"attention_bias": True}, "4 parameters of the configuration are not there, such as block_0/output/bias"),
        ({"tie_word_embeddings": True}, "1 parameters are none of the configuration, such as output/kernel"),
        ({"num_key_value_heads": 4}, r"block_0/qkv/kernel has shape \(16, 32\), and the configuration says \(16, 48\)"),
        ({"vocab_size": 25}, r"token has shape \(24, 16\)"),
        ({"num_hidden_layers": 1}, "6 parameters are none of the configuration"),
    ):
        with pytest.raises(CheckpointMismatchError, match=message):
            language_models.save(tmp_path / "new", ours, CONFIGS["Llama"] | change)
    assert not (tmp_path / "new").exists()


def test_a_model_is_not_written_over_and_bfloat16_stays_so(tmp_path):
    _, shapes, ours, _ = random_model("Qwen 2")
    narrow = jax.tree.map(lambda leaf: leaf.astype(ml_dtypes.bfloat16), ours)
    language_models.save(tmp_path, narrow, CONFIGS["Qwen 2"] | {"torch_dtype": "float32"})
    again = language_models.load(tmp_path)
    assert again.config["dtype"] == "bfloat16" and "torch_dtype" not in again.config
    assert rig.equal(again.params(jax.eval_shape(lambda: narrow)), narrow) and not rig.equal(again.params(shapes), ours)
    with pytest.raises(DataError, match="holds config.json: name another folder"):
        language_models.save(tmp_path, ours, CONFIGS["Qwen 2"])


@pytest.mark.fault("weights: a configuration that cannot be followed")
@table("name, depth", [("Llama", "num_hidden_layers"), ("GPT-2", "n_layer")])
def test_a_configuration_of_more_blocks_than_arrays_is_refused(tmp_path, name, depth):
    language_models.save(tmp_path, random_model(name)[2], CONFIGS[name])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {depth: 9999}))
    with pytest.raises(DataError, match=f"config.json: {depth} = 9999 is more than its weights have arrays"):
        language_models.load(tmp_path)


def test_a_gguf_file_comes_through_the_same_door(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(DataError, match="x.gguf: not a whole GGUF file"):
        language_models.load(tmp_path / "x.gguf")
