"""Folders in the form of diffusers with random weights, which both sides read."""

import json
import math
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.folder_settings import FOLDERS, is_qwen, kind
from experiments.bench.lazily import jax, jnp, networks, part_readers, rules, safetensors, tokenizers

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = string.ascii_lowercase + string.digits + "!.,:()-'"
SPREAD = 0.1
"""Of random biases, and of the scales of norms around 1; other weights have the variance 1 over the number of
inputs.
"""
NUMBERS = 2**24
"""So many random numbers are drawn for a part; further ones repeat them. Billions would take minutes."""
SHIFT = 65_537
"""Two arrays in a row begin so many random numbers apart."""
SCALES = ("weight", "running_var")
"""How the names of vectors around 1 end."""
SHARD = 2**31
"""Bytes after which the next array is in a further file."""
MESSAGE = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"
)
"""Of chats, as Qwen's writes them."""


def write(folder: Path, name: str, dtype: str = "float32") -> None:
    """A folder in the form of diffusers, its weights at random; one that is there stays."""
    if folder.exists():
        return
    write_texts(folder, name)
    for part, config in FOLDERS[name].parts.items():
        _write_weights(folder / part, config, dtype)


def _write_weights(folder: Path, config: dict[str, Any], dtype: str) -> None:
    """Those of a part, in as many files as it takes."""
    reader, number_type = part_readers.READERS[kind(config)], jnp.dtype(dtype)
    all_shapes, files, total = shapes(config) | reader.params.unused(config), dict[int, list[str]](), 0
    for array, shape in all_shapes.items():
        files.setdefault(total // SHARD, []).append(array)
        total += math.prod(shape) * number_type.itemsize
    numbers = np.random.default_rng(0).standard_normal(min(NUMBERS, 2 * max(total, SHIFT)), np.float32)
    start, where = 0, dict[str, str]()
    for position, names in enumerate(files.values(), 1):
        number = f"-{position:05}-of-{len(files):05}" if len(files) > 1 else ""
        file, arrays = f"{reader.stem}{number}.safetensors", {}
        for array in names:
            shape, start = all_shapes[array], (start + SHIFT) % (len(numbers) // 2)
            vector = len(shape) < 2
            middle = 1.0 if vector and array.endswith(SCALES) else 0.0
            spread = SPREAD if vector else math.prod(shape[1:]) ** -0.5
            arrays[array] = np.asarray(middle + spread * np.resize(numbers[start:], shape), number_type)
        safetensors.save_file(arrays, folder / file, {"format": "pt"})
        where |= dict.fromkeys(names, file)
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / f"{reader.stem}.safetensors.index.json").write_text(json.dumps(index))


def build(config: dict[str, Any], **fields: Any) -> tuple[Any, tuple[Any, ...]]:
    """The network of a part, and inputs of it, of which shapes alone matter. fields: more of the network's."""
    reader = part_readers.READERS[kind(config)]
    pooled = (
        {"pooled_channels": config["projection_class_embeddings_input_dim"] - 6 * 256}
        if "addition_embed_type" in config
        else {}
    )
    network = reader.network(config, pooled, fields)
    return network, reader.example(network, config.get("in_channels", 0) // reader.packed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of a part, by the names of its file."""
    reader, (network, example) = part_readers.READERS[kind(config)], build(config)
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *example))
    hollow = jax.tree.map(lambda leaf: np.broadcast_to(np.int8(0), leaf.shape), like)
    return {name: array.shape for name, array in rules.to_theirs(hollow, reader.params.rules(config)).items()}


def vocabulary(size: int) -> dict[str, int]:
    """Pieces of a tokenizer: letters alone and at the end of a word, pieces that no text has, and the two that begin
    and end a text.
    """
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    filling = [f"<{number}>" for number in range(size - len(pieces) - 2)]
    return {piece: number for number, piece in enumerate((*pieces, *filling, START, END))}


def write_texts(folder: Path, name: str) -> None:
    """What is no weight: model_index.json, configurations, tokenizers and the scheduler."""
    settings = FOLDERS[name]
    libraries = {
        part: ["transformers" if part in settings.towers else "diffusers", kind(config)]
        for part, config in settings.parts.items()
    }
    texts: dict[str, Any] = {f"{part}/config.json": config for part, config in settings.parts.items()}
    texts["scheduler/scheduler_config.json"] = settings.scheduler
    libraries["scheduler"] = ["diffusers", settings.scheduler["_class_name"]]
    for part in settings.towers:
        tokenizer, config = part.replace("text_encoder", "tokenizer"), settings.parts[part]
        libraries[tokenizer] = ["transformers", "Qwen2Tokenizer" if is_qwen(config) else "CLIPTokenizer"]
        files = _chat_tokenizer() if is_qwen(config) else _clip_tokenizer(config)
        texts |= {f"{tokenizer}/{file}": content for file, content in files.items()}
    texts["model_index.json"] = {
        "_class_name": settings.pipeline,
        "_diffusers_version": "0.42.1",
        **libraries,
        **settings.entries,
    }
    for file, content in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def _clip_tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a tokenizer of CLIP."""
    words = {name: END for name in ("eos_token", "unk_token", "pad_token")} | {"bos_token": START}
    words |= {"tokenizer_class": "CLIPTokenizer", "model_max_length": config["max_position_embeddings"]}
    vocabulary_of = vocabulary(config["vocab_size"])
    return {"vocab.json": vocabulary_of, "tokenizer_config.json": words, "merges.txt": "#version: 0.2\n"}


def _chat_tokenizer() -> dict[str, Any]:
    """The files of a tokenizer of bytes with the marks and the template of chats."""
    bytes_of = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    library = tokenizers.Tokenizer(tokenizers.models.BPE({each: i for i, each in enumerate(sorted(bytes_of))}, []))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = tokenizers.decoders.ByteLevel()
    library.add_special_tokens(list(MESSAGE))
    words: dict[str, Any] = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": MESSAGE[1], "pad_token": MESSAGE[2]}
    words |= {"bos_token": None, "unk_token": None, "model_max_length": 131_072, "chat_template": TEMPLATE}
    return {"tokenizer.json": library.to_str(), "tokenizer_config.json": words}
