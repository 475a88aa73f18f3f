"""`BertModel` of transformers as `networks.TextEncoder`: its fields, and the rules for its parameters."""

from gendiff.core.types import Config
from gendiff.weights import rules as naming
from gendiff.weights import settings
from gendiff.weights.rules import Arrays, Rule, linear, norm

KIND = "BertModel"
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
DEFAULTS: Config = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,  # of training there; the network here has no dropout
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
    "position_embedding_type": "absolute",
    "use_cache": True,
    "gradient_checkpointing": False,
    "classifier_dropout": None,
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    **settings.NOTES_OF_TRANSFORMERS,
    "architectures": (KIND,),
    "model_type": "bert",
}
SUPPORTED: dict[str, tuple[object, ...]] = {
    "architectures": ((KIND,), None),
    "model_type": ("bert",),
    "hidden_act": tuple(ACTIVATIONS),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "pad_token_id": (int,),
    "bos_token_id": (int,),
    "eos_token_id": (int,),
    "classifier_dropout": (float,),
    **settings.OPTIONAL_NOTES_OF_TRANSFORMERS,
}
BUFFER = "embeddings.position_ids"
"""0, 1, 2, …, which older files hold."""
POOLER = ("pooler.dense.weight", "pooler.dense.bias")
"""A layer on the first token, trained on pairs of sentences; sentence encoders average the tokens instead."""


def network_fields(config: Config) -> Config:
    """Return the fields of `networks.TextEncoder` for the model of a config.json.

    Its tokens are equal to last_hidden_state. A BertModel does not say how its tokens become one vector; here it is
    their mean.

    Raises:
        ConfigError: that names the setting and value without a match.
    """
    values = settings.from_config(config, (KIND,), DEFAULTS, SUPPORTED, OPTIONAL)
    return {
        "vocabulary": values["vocab_size"],
        "positions": values["max_position_embeddings"],
        "width": values["hidden_size"],
        "depth": values["num_hidden_layers"],
        "heads": values["num_attention_heads"],
        "expansion": settings.expansion(KIND, values),
        "causal": False,
        "norm_first": False,
        "activation": ACTIVATIONS[values["hidden_act"]],
        "epsilon": values["layer_norm_eps"],
        "token_types": values["type_vocab_size"],
        "pooling": "mean",
    }


def rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules for every parameter of the model of a config.json.

    Raises:
        ConfigError: as `network_fields` does.
    """
    network_fields(config)
    block = "encoder.layer.{block}"
    attention = f"{block}.attention.self"
    return (
        Rule("token", ("embeddings.word_embeddings.weight",)),
        Rule("position", ("embeddings.position_embeddings.weight",)),
        Rule("type", ("embeddings.token_type_embeddings.weight",)),
        *norm("embeddings.LayerNorm", "embedding_norm"),
        *linear(f"{attention}.query {attention}.key {attention}.value", "block_{block}/qkv"),
        *linear(f"{block}.attention.output.dense", "block_{block}/output"),
        *norm(f"{block}.attention.output.LayerNorm", "block_{block}/norm_0"),
        *linear(f"{block}.intermediate.dense", "block_{block}/mlp_0"),
        *linear(f"{block}.output.dense", "block_{block}/mlp_1"),
        *norm(f"{block}.output.LayerNorm", "block_{block}/norm_1"),
    )


def _used(config: Config, arrays: Arrays) -> Arrays:
    """Left out by their names: the pooler, and the buffer of positions that older files hold."""
    return {name: array for name, array in arrays.items() if name not in (BUFFER, *POOLER)}


params = naming.Conversion(rules, _used)
