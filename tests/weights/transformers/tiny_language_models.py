"""Small language models of every kind, as transformers configures them, with parameters that are a function of their
shapes.
"""

import jax
import numpy as np

from gendiff.core import trees

TOKENS = np.random.default_rng(0).integers(0, 24, (2, 10)).astype(np.int32)
SMALL = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}
STRETCH = {"factor": 4.0, "low_freq_factor": 0.5, "high_freq_factor": 2.0, "original_max_position_embeddings": 8}
CONFIGS = {
    "Llama": SMALL | {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-2},
    "Llama 3": SMALL
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tie_word_embeddings": True,
        "attention_bias": True,
        "rope_theta": 100.0,
        "rope_scaling": STRETCH | {"rope_type": "llama3"},
    },
    "Llama of a wide head": SMALL
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "head_dim": 6,
        "mlp_bias": True,
        "num_key_value_heads": 1,
        "rope_theta": 100.0,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    },
    "Llama of transformers 5": SMALL
    | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "rope_parameters": STRETCH | {"rope_type": "llama3", "rope_theta": 50.0},
    },
    "Qwen 2": SMALL | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "tie_word_embeddings": True},
    "Qwen 2 with a window": SMALL
    | {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 0,
    },
    "Qwen 3": SMALL
    | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 6, "attention_bias": True},
    "Qwen 3 with some windows": SMALL
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 6,
        "use_sliding_window": True,
        "sliding_window": 3,
        "max_window_layers": 1,
    },
    "Mistral": SMALL
    | {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "head_dim": 6, "sliding_window": 3},
    "Gemma 2": SMALL
    | {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "head_dim": 6,
        "query_pre_attn_scalar": 3,
        "sliding_window": 3,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "Gemma 3": SMALL
    | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "num_hidden_layers": 3,
        "head_dim": 6,
        "query_pre_attn_scalar": 3,
        "sliding_window": 3,
        "sliding_window_pattern": 3,
        "rope_theta": 200.0,
        "rope_local_base_freq": 20.0,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    },
    "Gemma 3 of transformers 5": SMALL
    | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "head_dim": 6,
        "attention_bias": True,
        "sliding_window": 4,
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": STRETCH | {"rope_type": "llama3", "rope_theta": 50.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
        },
    },
    "GPT-2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": 24,
        "n_positions": 32,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 4,
        "n_inner": 24,
    },
}


def random_params(shapes):
    """Parameters away from what they start at, of moderate size."""
    rng = np.random.default_rng(1)
    arrays = []
    for path, leaf in trees.paths(shapes).items():
        spread = leaf.shape[0] ** -0.5 if path.endswith("kernel") else 0.3
        arrays.append((spread * rng.normal(size=leaf.shape) + path.endswith("scale")).astype(np.float32))
    return jax.tree.unflatten(jax.tree.structure(shapes), arrays)
