"""The tokenizer of Qwen from a folder of diffusers: texts as ids, and ids as rows within a message to a model."""

import os
from collections.abc import Mapping
from pathlib import Path

from gendiff.core import tokenizing
from gendiff.core.errors import DataError
from gendiff.data.texts import tokenizer_settings
from gendiff.data.texts.row_tokenizer import RowTokenizer

FIXED: Mapping[str, tuple[object, ...]] = {
    "tokenizer_class": ("Qwen2Tokenizer", "Qwen2TokenizerFast"),
    "split_special_tokens": (False,),
    "add_bos_token": (False,),
    **dict.fromkeys(
        (
            *("bos_token", "unk_token", "errors", "chat_template", "add_prefix_space"),
            *("additional_special_tokens", "extra_special_tokens"),
        ),
        (),
    ),
}
"""Settings that can be followed with these values only, and those that say nothing of the ids of a text."""
NAMES = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
"""Its tokens, and what each is where no file says."""


def load(path: str | os.PathLike[str], longest: int, before: str, after: str) -> RowTokenizer:
    """Read the folder of a tokenizer: tokenizer_config.json beside tokenizer.json.

    A row is filled up with −1 − the id of padding.

    Args:
        path: the folder.
        longest: most tokens of a row.
        before: the text that begins a row.
        after: the text that ends one.

    Raises:
        ImportError: without the package of the extra `text`.
        DataError: path first, for missing or damaged files, a setting that cannot be followed, and rows without room.
    """
    tokenizers = tokenizing.package("text")
    folder = Path(path)
    named, length = tokenizer_settings.read(folder, NAMES, FIXED, most=2**63)
    file = folder / tokenizing.NAME
    library = tokenizing.opened(tokenizers, file, tokenizing.stored(file))
    padding = -1 - tokenizer_settings.ids(folder, library, named)["pad_token"]
    try:
        first, last = (tuple(tokenizing.encoded(library, text).ids) for text in (before, after))
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
    row = RowTokenizer(library, min(length, longest), first, last, padding)
    if row.room < 1:
        raise DataError(f"{folder}: a row of {row.length} tokens has no room for a prompt")
    return row
