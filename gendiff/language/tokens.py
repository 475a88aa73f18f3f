"""Tokenizers: texts as ids of tokens and back, by BPE of bytes or of characters, or as plain bytes.

GPT-2, Llama 3, SmolLM and Qwen have BPE of bytes. Llama 2, Mistral and Gemma have BPE of characters, in which "▁"
stands for a space, and tokens of single bytes for characters that the vocabulary lacks.

Every token stands for some bytes, so every sequence of ids is a text, and a text that comes token by token is written
as soon as its characters are whole.
"""

import codecs
import dataclasses
import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int32

from gendiff.core import foreign_files, tokenizing
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Config

EXTRA = "language"
END_OF_TEXT = "<|endoftext|>"
ENDS = END_OF_TEXT, "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>"
"""Names of special tokens that end a text or an answer."""
SPACE = "▁"
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
"""Types of tokens in GGUF."""
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What Llama 3 and Qwen split texts into, with digits in their own way (from memory)."""
_LLAMA_3 = "llama-bpe", "llama3", "llama-v3"


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageTokenizer:
    """Turns texts into ids and ids into texts. `load`, `from_gguf` and `plain` build it.

    Attributes:
        plain_library: the `tokenizers.Tokenizer` to which special tokens are letters like others.
        special_library: the one that reads them as what they mean.
        pieces: the bytes of each id; none for special tokens, which are no text, and for ids that there are not.
        special: ids of the special tokens by name.
        begin: the id that stands before every text, or None.
        end: the id that ends a text or an answer, or None.
        unwritable: bytes for which the vocabulary has no token.
    """

    plain_library: Any  # the package has no types
    special_library: Any  # the package has no types
    pieces: tuple[bytes, ...]
    special: Mapping[str, int]
    begin: int | None
    end: int | None
    unwritable: frozenset[int]

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self.pieces)

    def encode(self, text: str, *, special: bool = False) -> Int32[np.ndarray, " s"]:
        """Turn a text into ids, without one that begins it.

        Args:
            text: any.
            special: read names of special tokens as those tokens. Only for texts that nobody else wrote a part of: with
                it, whoever writes "<|im_end|>" ends a message.

        Raises:
            TypeError: for what is no text.
            ValueError: for a text with a half of a character, or with bytes for which the vocabulary has no token.
        """
        written = tokenizing.checked("text", text, longest=None)
        if self.unwritable and not self.unwritable.isdisjoint(written):
            unknown = next(letter for letter in text if not self.unwritable.isdisjoint(letter.encode()))
            raise ValueError(
                f"text holds {unknown!r} at position {text.index(unknown)}, for which the vocabulary has no token"
            )
        library = self.special_library if special else self.plain_library
        return np.array(tokenizing.encoded(library, text).ids, np.int32)

    def prompt(self, text: str, context: int, *, special: bool = False) -> Int32[np.ndarray, " s"]:
        """Turn a text into ids that a model goes on with, begun as its training began texts.

        Args:
            text: any.
            context: the largest number of tokens of the model.
            special: as `encode` has it.

        Raises:
            TypeError: for what is no text.
            ValueError: as `encode` does, for a prompt without a token, and for one that leaves no room for an answer.
        """
        ids = self.encode(text, special=special)
        begin = [] if self.begin is None or (special and ids[:1].tolist() == [self.begin]) else [self.begin]
        ids = np.concatenate([np.array(begin, np.int32), ids])
        if not 1 <= len(ids) < context:
            why = (
                "leave no room for an answer: shorten it" if len(ids) else "are nothing to go on with: write some text"
            )
            raise ValueError(f"the prompt has {len(ids)} tokens, which {why}; the model reads {context} (context)")
        return ids

    def decode(self, ids: Iterable[SupportsIndex], *, special: bool = False) -> str:
        """Turn ids into a text. Bytes that are no whole character become U+FFFD.

        Args:
            ids: of any number of tokens.
            special: write the names of special tokens instead of nothing.

        Raises:
            ValueError: for an id that there is not.
        """
        return "".join(self.stream(ids, special=special))

    def stream(self, ids: Iterable[SupportsIndex], *, special: bool = False) -> Iterator[str]:
        """Turn ids into pieces of text as they come.

        Each piece is of whole characters, and joined they are what `decode` gives.

        Args:
            ids: one after another, as a loop that decodes gives them.
            special: write the names of special tokens instead of nothing.

        Raises:
            TypeError: for ids that are no integers.
            ValueError: for an id that there is not.
        """
        names = {number: name for name, number in self.special.items()}
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        for number in ids:
            at = operator.index(number)
            if not 0 <= at < self.size:
                raise ValueError(f"ids holds {at}, which is none of 0 … {self.size - 1}")
            name = names.get(at)
            piece = characters.decode(self.pieces[at], name is not None) + (
                name if special and name is not None else ""
            )
            if piece:
                yield piece
        if rest := characters.decode(b"", True):
            yield rest

    def check_vocabulary(self, vocabulary: int, *, padded: bool = False) -> None:
        """Refuse a network whose ids are not those of this tokenizer.

        Args:
            vocabulary: the network's number of ids.
            padded: allow it more of them, which no text has: some models round the size of their table up.

        Raises:
            ValueError: with both numbers.
        """
        if vocabulary < self.size or (vocabulary > self.size and not padded):
            more = "" if vocabulary < self.size else "; padded=True allows the network more"
            raise ValueError(
                f"the tokenizer has {self.size} ids and the network {vocabulary} (vocabulary): they do not belong "
                f"together{more}"
            )


def load(path: str | os.PathLike[str]) -> LanguageTokenizer:
    """Read a tokenizer.json of BPE of bytes, or of characters with bytes to fall back on.

    Which tokens begin and end a text stands in tokenizer_config.json, where there is one beside it.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        ImportError: without the package of the extra `language`.
        DataError: path first, for a missing file, or one that is a tokenizer.json of another kind.
    """
    tokenizers = tokenizing.package(EXTRA)
    file = Path(path) / tokenizing.NAME if Path(path).is_dir() else Path(path)
    stored = tokenizing.stored(file)
    model, added = stored.get("model"), stored.get("added_tokens") or []
    decoder, settings = json.dumps(stored.get("decoder")), model if isinstance(model, dict) else {}
    is_bpe = settings.get("type") == "BPE"
    falls_back = is_bpe and settings.get("byte_fallback") is True and '"ByteFallback"' in decoder
    if not is_bpe or (not falls_back and '"ByteLevel"' not in decoder):
        raise DataError(
            f"{file}: not a {tokenizing.NAME} of byte-level BPE, or of BPE with bytes to fall back on: no "
            "other kinds of language models are read"
        )
    library = tokenizing.opened(tokenizers, file, stored)
    config = file.with_name("tokenizer_config.json")
    names = foreign_files.json_object(config) if config.exists() else {}
    with foreign_files.naming(file):
        special = {token["content"]: token["id"] for token in added if token["special"]}
        begin, first = _named(names.get("bos_token")), tokenizing.encoded(library, "a", ends=True).ids[:1]
        if not names.get("add_bos_token") and (begin is None or library.token_to_id(begin) not in first):
            begin = None
        end = special.get(_named(names.get("eos_token")) or "")
        return _built(library, special, special.get(begin or ""), end, falls_back=falls_back)


def from_gguf(metadata: Config) -> LanguageTokenizer:
    """The tokenizer in the metadata of a GGUF file.

    Args:
        metadata: as `weights.gguf.load` reads it.

    Raises:
        ImportError: without the package of the extra `language`.
        ConfigError: that names what is missing, or a kind of tokenizer that is not known.
    """
    tokenizers = tokenizing.package(EXTRA)
    prefix = "tokenizer.ggml"
    kind, split = metadata.get(f"{prefix}.model"), metadata.get(f"{prefix}.pre")
    splits, falls_back = _splits(tokenizers), kind == "llama"
    if not falls_back and (kind != "gpt2" or split not in splits):
        raise ConfigError(
            f"{prefix}.model = {kind!r} with {prefix}.pre = {split!r} is not known, only 'llama', and 'gpt2' with "
            f"{', '.join(splits)}"
        )
    tokens, merges, types = (metadata.get(f"{prefix}.{name}") for name in ("tokens", "merges", "token_type"))
    if falls_back and isinstance(tokens, list):
        merges = _merges(tokens, metadata.get(f"{prefix}.scores"), types)
    if not isinstance(tokens, list) or not isinstance(merges, list) or len(set(tokens)) != len(tokens):
        raise ConfigError(f"{prefix}.tokens and {prefix}.merges must be lists of texts, and no token may come twice")
    types = np.ones(len(tokens), int) if types is None else np.asarray(types)
    if types.shape != (len(tokens),):
        raise ConfigError(
            f"{prefix}.token_type has shape {types.shape}: one for each of {len(tokens)} tokens is needed"
        )
    try:
        pairs = [tuple(merge.split(" ", 1)) for merge in merges]
        options = {"byte_fallback": True, "fuse_unk": True} if falls_back else {"ignore_merges": split in _LLAMA_3}
        vocabulary = {token: number for number, token in enumerate(tokens)}
        library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, pairs, **options))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigError(f"{prefix}.merges do not fit {prefix}.tokens: {error}") from error
    if falls_back:
        first = [tokenizers.normalizers.Prepend(SPACE)] if metadata.get(f"{prefix}.add_space_prefix", True) else []
        library.normalizer = tokenizers.normalizers.Sequence([*first, tokenizers.normalizers.Replace(" ", SPACE)])
    else:
        library.pre_tokenizer, library.decoder = splits[str(split)], tokenizers.decoders.ByteLevel()
        if split == "qwen2":
            library.normalizer = tokenizers.normalizers.NFC()
    special = {tokens[at]: int(at) for at in np.flatnonzero(np.isin(types, (_UNKNOWN, _CONTROL)))}
    library.add_special_tokens([tokenizers.AddedToken(name, normalized=False, special=True) for name in special])
    library.add_tokens(
        [tokenizers.AddedToken(tokens[at], normalized=False) for at in np.flatnonzero(types == _USER_DEFINED)]
    )
    begin = (
        _metadata_id(metadata, f"{prefix}.bos_token_id", len(tokens))
        if metadata.get(f"{prefix}.add_bos_token", falls_back or split in _LLAMA_3)
        else None
    )
    end = _metadata_id(metadata, f"{prefix}.eos_token_id", len(tokens))
    return _built(library, special, begin, end, falls_back=falls_back)


def plain() -> LanguageTokenizer:
    """Bytes as ids 0 … 255, and 256 for the end of a text: for small models that learn from nothing."""
    tokenizers = tokenizing.package(EXTRA)
    library = tokenizers.Tokenizer(tokenizers.models.BPE({letter: byte for byte, letter in enumerate(_letters())}, []))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.decoder = tokenizers.decoders.ByteLevel()
    library.add_special_tokens([tokenizers.AddedToken(END_OF_TEXT, normalized=False, special=True)])
    return _built(library, {END_OF_TEXT: 256}, None, 256)


def _splits(tokenizers: ModuleType) -> dict[str, object]:
    """Pre-tokenizers, which split texts before bytes are joined, by the names of llama.cpp."""
    pre = tokenizers.pre_tokenizers
    words = pre.ByteLevel(add_prefix_space=False, use_regex=True)
    of_bytes = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    regex = {
        digits: pre.Sequence([pre.Split(tokenizers.Regex(_WORDS.replace("DIGITS", digits)), "isolated"), of_bytes])
        for digits in (r"\p{N}", r"\p{N}{1,3}")
    }
    return {
        "gpt-2": words,
        "smollm": pre.Sequence([pre.Digits(individual_digits=True), words]),
        "qwen2": regex[r"\p{N}"],
        **dict.fromkeys(_LLAMA_3, regex[r"\p{N}{1,3}"]),
    }


def _merges(tokens: list[str], scores: object, types: object) -> list[str]:
    """The merges that lead to the tokens of SentencePiece, those to the highest score first.

    Raises:
        ConfigError: unless there is a score for each.
    """
    numbers = np.asarray(scores if isinstance(scores, np.ndarray) else ())
    if numbers.shape != (len(tokens),):
        raise ConfigError(f"tokenizer.ggml.scores has shape {numbers.shape}: one for each of {len(tokens)} is needed")
    kinds = np.asarray(types) if isinstance(types, np.ndarray) and len(types) == len(tokens) else np.ones(len(tokens))
    other = _UNKNOWN, _CONTROL, _BYTE
    known = {token for token, kind in zip(tokens, kinds, strict=True) if kind not in other and " " not in token}
    order = (tokens[at] for at in np.argsort(-numbers, kind="stable"))
    return [
        f"{token[:cut]} {token[cut:]}"
        for token in order
        if token in known
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]


def _built(
    library: Any, special: Mapping[str, int], begin: int | None, end: int | None, *, falls_back: bool = False
) -> LanguageTokenizer:
    """The two libraries, whose package has no types, and the bytes of every id."""
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = False
    plain_library = type(library).from_str(library.to_str())
    plain_library.encode_special_tokens = True
    vocabulary = library.get_vocab(with_added_tokens=True)
    added = set(library.get_added_tokens_decoder())
    names = [f"<0x{byte:02X}>" for byte in range(256)] if falls_back else _letters()
    bytes_of = {name: bytes([byte]) for byte, name in enumerate(names)}  # other letters stand for themselves
    without_text = set(special.values())
    pieces = [b""] * (max(vocabulary.values(), default=0) + 1)
    for token, number in vocabulary.items():
        if number not in without_text:
            if falls_back:
                pieces[number] = bytes_of.get(token) or token.replace(SPACE, " ").encode()
            else:
                letters = (bytes_of.get(letter) or letter.encode() for letter in token)
                pieces[number] = token.encode() if number in added else b"".join(letters)
    unwritable = frozenset(
        byte[0]
        for name, byte in bytes_of.items()
        if name not in vocabulary and not (falls_back and byte.isascii() and byte.decode() in vocabulary)
    )
    return LanguageTokenizer(plain_library, library, tuple(pieces), dict(special), begin, end, unwritable)


def _letters() -> list[str]:
    """The letter that stands for each byte in byte-level BPE: itself where it can be seen, else one from 256 on.

    References:
        Radford et al., 2019, section 2.2, and the code of GPT-2 (from memory).
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(256)]


def _named(token: object) -> str | None:
    """The name of a token, which stands alone or as the content of an object."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _metadata_id(metadata: Config, key: str, size: int) -> int | None:
    value = metadata.get(key)
    if value is not None and not (isinstance(value, int) and 0 <= value < size):
        raise ConfigError(f"{key} = {value!r} is none of 0 … {size - 1}")
    return value
