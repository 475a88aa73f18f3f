"""Shared parts of tokenizers: the package, the file tokenizer.json, and the check of a text."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gendiff.core import child_process, extras, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.foreign_files import Config

if TYPE_CHECKING:
    import tokenizers

NAME = "tokenizer.json"
TRIAL = Path(__file__).with_name("tokenizer_trial.py")
PATTERNS = ("normalizer", "pre_tokenizer", "decoder")
"""Parts of the file that may hold regular expressions."""
_NO_WORDS = {"type": "BPE", "vocab": {}, "merges": []}
LONGEST = 8192
"""Characters of a prompt. Encoders of prompts read some hundreds."""
MOST_IDS = 2**22
"""Of a vocabulary. The largest have 262,144, and there may be gaps between ids."""


def package(extra: str) -> ModuleType:
    """The package `tokenizers`.

    Raises:
        ImportError: without it, which names the extra.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(extras.needs("texts as tokens need", "tokenizers", extra)) from error
    return tokenizers


def stored(file: Path) -> Config:
    """What a tokenizer.json holds.

    Raises:
        DataError: path first, for a missing file, and what is no JSON object.
    """
    return foreign_files.json_object(foreign_files.regular(file, f"; a {NAME} is needed"))


def opened(package: ModuleType, file: Path, content: Config) -> "tokenizers.Tokenizer":
    """The `tokenizers.Tokenizer` of what a tokenizer.json holds, without padding or truncation of its own.

    Raises:
        DataError: path first, for what the package does not read, for an id of MOST_IDS or more, and for patterns that
            take more than 2 s or 512 MiB.
    """
    model = content.get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    ids = words.values() if isinstance(words, dict) else ()
    largest = max((number for number in ids if isinstance(number, int)), default=0)
    if largest >= MOST_IDS:  # for which the package asks for so much memory that the process ends
        raise DataError(f"{file}: the vocabulary has the id {largest}, and ids below {MOST_IDS} are read")
    patterns = json.dumps({name: content.get(name) for name in PATTERNS} | {"version": "1.0", "model": _NO_WORDS})
    try:
        if '"Regex"' in patterns:
            child_process.run(TRIAL, {"tokenizer": patterns})
        with _panics():
            tokenizer: tokenizers.Tokenizer = package.Tokenizer.from_str(json.dumps(content))
    except child_process.ChildError as error:
        raise DataError(f"{file}: a pattern of this {NAME} {error}") from error
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"{file}: not a {NAME} that this version of tokenizers reads: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encoded(library: "tokenizers.Tokenizer", text: str, ends: bool = False) -> "tokenizers.Encoding":
    """The tokens of a text, with those that begin and end one if `ends`.

    Raises:
        ValueError: for a text that the tokenizer does not read.
    """
    with _panics():
        return library.encode(text, add_special_tokens=ends)


@contextlib.contextmanager
def _panics() -> Iterator[None]:
    """A panic of Rust, which is no Exception, as a ValueError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizer fails: {error}") from error


def checked(name: str, text: object, longest: int | None = LONGEST) -> bytes:
    """The text in UTF-8.

    Raises:
        TypeError: for what is no text.
        ValueError: for more characters than `longest`, and a half of a character.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, got {type(text).__name__}")
    if longest is not None and len(text) > longest:
        raise ValueError(f"{name} has {len(text)} characters, more than {longest}: shorten it")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds a half of a character at position {error.start}: it was decoded wrongly"
        ) from error
