"""The language model that experiments and commands work with: the one that pip brings, or a file or folder of one's
own.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gendiff import language, networks, weights
from gendiff.commands.chat import steps
from gendiff.commands.chat.chat_options import GGUF, SMOLLM2, model_path
from gendiff.core import arrays, foreign_files
from gendiff.core.errors import ConfigError
from gendiff.language.tokens import LanguageTokenizer
from gendiff.pipelines import Chat
from gendiff.weights import packed_reading, quantised
from gendiff.weights.lora.lora_layers import Adaptable
from gendiff.weights.rules import Maker

ADAPTED = ("heads", "key_value_heads", "bias", "qkv_bias", "mlp_bias", "norm_heads", "norm_after", "tied")
"""Fields of a network on which the names of its layers depend."""
STORAGES: Mapping[str, Maker | None] = {
    "float32": None,
    "int8": packed_reading.maker(quantised.linear(quantised.int8(), tables=True)),
    "int4": packed_reading.maker(
        (
            *quantised.linear(quantised.int4(search=True, scale_dtype="float16")),
            quantised.Packing(r"(^|/)token$", quantised.int8(), table=True),
        )
    ),
    "as-file": packed_reading.as_stored,
    "packed": packed_reading.as_stored,
}
"""What makes each parameter as it is read, by the values of --weights."""


def opened(model: str = SMOLLM2, weights: str = "float32", *, lora: str = "") -> Chat:
    """A model with its tokenizer, and its template where it has one.

    model: "smollm2", a .gguf file, or a folder of transformers. weights: how its kernels are kept, of STORAGES. lora:
        folder of an adapter that changes it. ConfigError for anything else, and without the packages that it needs;
        errors of `weights` and `language` for what is damaged.
    """
    path = located(model)
    if weights == "packed" and path.is_dir():
        raise ConfigError(
            f"--weights packed is for .gguf files, and --model {model} is a folder: take --weights as-file, int8 or "
            "int4"
        )
    try:
        chat = _of(path, STORAGES[weights])
    except ImportError as error:
        raise ConfigError(str(error)) from error
    return with_adapter(chat, lora, packed=weights != "float32") if lora else chat


def weighted(model: str, weights: str, lora: str = "") -> Chat:
    """A model as options name it. weights: as of `opened`; "packed" makes a loop over its blocks. Raises as `opened`
    does.
    """
    chat = opened(model, weights, lora=lora)
    return scanned(chat, donate=True) if weights == "packed" else chat


def tokenizer(model: str = SMOLLM2) -> LanguageTokenizer:
    """The tokenizer of a model alone. Raises as `opened` does."""
    path = located(model)
    try:
        return (
            language.tokens.load(path) if path.is_dir() else language.tokens.from_gguf(weights.gguf.load(path).metadata)
        )
    except ImportError as error:
        raise ConfigError(str(error)) from error


def gguf_file(model: str) -> Path:
    """The .gguf file of a model. ConfigError for a folder; raises as `opened` does."""
    path = located(model)
    if path.is_dir():
        raise ConfigError(f"{model} is a folder: {SMOLLM2} or a {GGUF} file is needed, whose metadata are kept")
    return path


def located(model: str) -> Path:
    """The file or folder of a model. Raises ConfigError as `opened` does."""
    try:
        return weights.smollm2.path() if model == SMOLLM2 else model_path(model)
    except ImportError as error:
        raise ConfigError(str(error)) from error


def adaptable(chat: Chat) -> Adaptable:
    """The network with the names that files of adapters have for its layers. ConfigError for a GPT-2."""
    network = chat.network
    if network.positions != "rotary":
        raise ConfigError(
            "adapters are read and trained for the families of Llama, Mistral, Qwen and Gemma, and this is a GPT-2"
        )
    return weights.lora_layers.language_model({name: getattr(network, name) for name in ADAPTED}, chat.params)


def with_adapter(chat: Chat, lora: str, *, packed: bool = False) -> Chat:
    """The model with an adapter, merged, or beside it where the weights are packed. lora: its folder."""
    tree = weights.lora_files.load_adapter(foreign_files.expanded(lora), adaptable(chat))
    join = networks.lora.unmerged if packed else jax.jit(networks.lora.merge)
    return dataclasses.replace(chat, params=join(chat.params, tree))


def _of(path: Path, maker: Maker | None) -> Chat:
    stored = weights.language_models.load(path)
    network = networks.LanguageModel(**stored.fields)
    like = jax.eval_shape(functools.partial(networks.init, network), jax.random.key(0), np.zeros((1, 2), np.int32))
    tokenizer = language.tokens.from_gguf(stored.config) if path.is_file() else language.tokens.load(path)
    return Chat(network, stored.params(like, maker=maker), tokenizer, _template(path, stored.config))


def _template(path: Path, metadata: Mapping[str, object]) -> language.chat_template.ChatTemplate | None:
    try:
        return language.chat_template.from_gguf(metadata) if path.is_file() else language.chat_template.load(path)
    except ConfigError:  # the model completes texts
        return None


def question(chat: Chat, text: str) -> np.ndarray:
    """The ids (s,) of a conversation that begins with this text. ConfigError for a model without a chat template."""
    if chat.template is None:
        raise ConfigError("this model has no chat template, and this is a question to one that answers")
    return chat.tokenizer.prompt(chat.template([{"role": "user", "content": text}]), chat.network.context, special=True)


class Answer(NamedTuple):
    """text: without special tokens. finished: whether the model ended it."""

    text: str
    finished: bool


def answers(chat: Chat, texts: Sequence[str], max_tokens: int, *, template: bool = True) -> list[Answer]:
    """The likeliest answers to texts that are asked at once. Each is what `Chat.answer` gives it alone, but for
    rounding.

    template: False goes on with each text as it is, as `Chat.complete` does. ConfigError for a model without a chat
        template.
    """
    return sampled_answers(jax.random.key(0), chat, texts, max_tokens, temperature=0.0, template=template)


def sampled_answers(
    key: jax.Array, chat: Chat, texts: Sequence[str], max_tokens: int, *, temperature: float, template: bool = True
) -> list[Answer]:
    """As `answers`, drawn at a temperature."""
    ids = [question(chat, text) if template else chat.tokenizer.prompt(text, chat.network.context) for text in texts]
    longest = max(map(len, ids))
    width = max(longest, min(arrays.power_of_two(longest, 64), chat.network.context - max_tokens))  # few shapes compile
    prompts = np.full((len(ids), width), -1, np.int32)
    for row, each in zip(prompts, ids, strict=True):
        row[: len(each)] = each
    cache = language.cache.full(chat.network, len(ids), width + max_tokens)
    next_logits = language.from_network(networks.pure(chat.network), chat.params)
    write = steps.jit(language.generate, static_argnames="max_tokens")
    processor = language.processors.temperature(temperature)
    inputs = key, next_logits, cache, prompts, np.arange(len(ids))
    written = jax.device_get(write(*inputs, max_tokens=max_tokens, processor=processor, stop=chat.ends()))
    return [
        Answer(chat.tokenizer.decode(row[:length]), bool(finished))
        for row, length, finished in zip(written.tokens, written.length, written.finished, strict=True)
    ]


def scanned(chat: Chat, *, donate: bool = False) -> Chat:
    """The same model as a loop over its blocks, which compiles in a fraction of the time; as it is where these are
    unlike. donate: the model that is given is deleted.
    """
    if chat.network.experts is not None or chat.network.global_blocks:
        return chat
    try:
        params = networks.language_model.stack_blocks(chat.params, donate=donate)
    except ValueError:  # some layers have more bits
        return chat
    return dataclasses.replace(chat, network=chat.network.clone(scan_blocks=True), params=params)


def tiny(context: int = 256) -> Chat:
    """A network of bytes with random weights, which shows that everything runs."""
    tokenizer = language.tokens.plain()
    network = networks.LanguageModel(vocabulary=tokenizer.size, context=context, width=16, depth=1, heads=2)
    template = language.chat_template.from_text("{% for message in messages %}{{ message.content }}\n{% endfor %}")
    return Chat(network, networks.init(network, jax.random.key(0), np.zeros((1, 2), np.int32)), tokenizer, template)
