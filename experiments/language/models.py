"""The language model that experiments and commands work with: the one that pip brings, or a file or folder of one's own."""

import functools
from pathlib import Path

import jax
import numpy as np

from experiments.framework.errors import hint
from gendiff import language, networks, weights
from gendiff.core.errors import ConfigError
from gendiff.pipelines import Chat

SMOLLM2 = "smollm2"
GGUF = ".gguf"


def opened(model: str = SMOLLM2) -> Chat:
    """A model with its tokenizer and template, in float32.

    model: "smollm2", or a .gguf file of the family of Llama. ConfigError for anything else, and without the packages that it needs.
    """
    try:
        return _of_gguf(weights.smollm2.path() if model == SMOLLM2 else _file(model))
    except ImportError as error:
        raise ConfigError(str(error)) from error


def _file(model: str) -> Path:
    file = Path(model).expanduser()
    if file.is_dir():
        raise ConfigError(f"--model {model} is a folder: name the {GGUF} file in it")
    if not file.is_file():
        raise ConfigError(f"--model {model} is no file; {hint(model, [SMOLLM2])}")
    if file.suffix.lower() != GGUF:
        raise ConfigError(f"--model {model}: a {GGUF} file is needed, or {SMOLLM2}")
    return file


def _of_gguf(file: Path) -> Chat:
    stored = weights.gguf.load(file)
    network = networks.LanguageModel(**weights.gguf_llama.network_fields(stored))
    like = jax.eval_shape(functools.partial(networks.init, network), jax.random.key(0), np.zeros((1, 2), np.int32))
    params = weights.gguf_llama.params(stored, like)
    return Chat(network, params, language.tokens.from_gguf(stored.metadata), language.chat_template.from_gguf(stored.metadata))


def tiny(context: int = 256) -> Chat:
    """A network of bytes with random weights, which shows that everything runs."""
    tokenizer = language.tokens.plain()
    network = networks.LanguageModel(vocabulary=tokenizer.size, context=context, width=16, depth=1, heads=2)
    template = language.chat_template.from_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    return Chat(network, networks.init(network, jax.random.key(0), np.zeros((1, 2), np.int32)), tokenizer, template)
