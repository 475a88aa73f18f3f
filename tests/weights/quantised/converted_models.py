"""Small language models as the converter of llama.cpp writes them, under the names that its package `gguf` has."""

import jax
import numpy as np

from gendiff import networks
from gendiff.networks import rotary
from gendiff.weights import language_models, rules
from tests.weights.transformers import tiny_language_models
from tests.weights.transformers.tiny_language_models import CONFIGS, TOKENS

STRETCH = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
NAMES = {
    "Llama 3": ("llama", {"attention_bias": False, "rope_scaling": STRETCH | {"rope_type": "llama3"}}),
    "Llama of a wide head": ("llama", {"mlp_bias": False}),
    "Mistral": ("llama", {"sliding_window": None}),
    "Qwen 2": ("qwen2", {}),
    "Qwen 3": ("qwen3", {"attention_bias": False}),
    "Gemma 2": ("gemma2", {"query_pre_attn_scalar": 6}),
    "Gemma 3": ("gemma3", {"query_pre_attn_scalar": 6, "num_hidden_layers": 7, "sliding_window_pattern": 6}),
}
"""The architecture there, and what of a configuration its files cannot hold, or hold as a constant."""
SETTINGS = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_local_base_freq",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
WINDOWED = ("gemma2", "gemma3")


def model(name, changes=()):
    """(config.json, metadata, arrays) of a model of CONFIGS, as far as a file can hold it."""
    import gguf

    architecture, fixed = NAMES[name]
    config = CONFIGS[name] | fixed | dict(changes)
    metadata = {theirs: config[ours] for theirs, ours in SETTINGS.items() if ours in config}
    metadata["attention.layer_norm_rms_epsilon"] = config.get("rms_norm_eps", 1e-6)
    if architecture in WINDOWED:
        metadata["attention.sliding_window"] = config["sliding_window"]
    stretch = config.get("rope_scaling") or {}
    if stretch.get("rope_type") == "linear":
        metadata |= {"rope.scaling.type": "linear", "rope.scaling.factor": stretch["factor"]}
    kind = next(kind for kind, each in gguf.MODEL_ARCH_NAMES.items() if each == architecture)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    arrays = {}
    theirs = rules.to_theirs(params(config), language_models.module_of(config).rules(config))
    for path, array in theirs.items():
        stem, _, suffix = path.rpartition(".")
        arrays[f"{names.get_name(stem)}.{suffix}"] = _converted(architecture, config, path, array)
    if stretch.get("rope_type") == "llama3":
        arrays["rope_freqs.weight"] = _divisors(config)
    metadata = {f"{architecture}.{each}": value for each, value in metadata.items()}
    return config, metadata | {"general.architecture": architecture}, arrays


def params(config):
    """Ours, of a configuration."""
    network = networks.LanguageModel(**language_models.module_of(config).network_fields(config))
    return tiny_language_models.random_params(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), TOKENS)))


def _converted(architecture, config, path, array):
    if architecture.startswith("gemma") and path.endswith("norm.weight"):
        return array + 1
    for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
        if architecture == "llama" and part in path:
            rows = array.reshape(config[heads], 2, -1, array.shape[1])
            return rows.swapaxes(1, 2).reshape(array.shape)
    return array


def _divisors(config):
    pairs = config["hidden_size"] // config["num_attention_heads"] // 2
    stretched = rotary.LongContext(*STRETCH.values())
    plain, slow = (rotary.Rotary(config["rope_theta"], each).frequencies(pairs) for each in (None, stretched))
    return (plain / slow).astype(np.float32)
