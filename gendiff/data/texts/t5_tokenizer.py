"""The tokenizer of T5 from the tokenizer.json of Stable Diffusion 3 and FLUX.1: texts as ids, and ids as rows.

Also known as: SentencePiece, Unigram.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from gendiff.core import tokenizing
from gendiff.data.texts import tokenizer_settings
from gendiff.data.texts.row_tokenizer import RowTokenizer

FIXED: Mapping[str, tuple[object, ...]] = {
    "tokenizer_class": ("T5Tokenizer", "T5TokenizerFast"),
    "add_prefix_space": (True,),
    "split_special_tokens": (False,),
    **dict.fromkeys(
        ("extra_ids", "additional_special_tokens", "extra_special_tokens", "sp_model_kwargs", "legacy"), ()
    ),
}
"""Settings that can be followed with these values only, and those that say nothing of the ids of a text."""
NAMES = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
"""Its tokens, and what each is where no file says."""


def load(path: str | os.PathLike[str], longest: int) -> RowTokenizer:
    """Read the folder of a tokenizer: tokenizer_config.json beside tokenizer.json.

    Args:
        path: the folder.
        longest: most tokens of a row, whatever the file says.

    Raises:
        ImportError: without the package of the extra `text`.
        DataError: path first, for missing or damaged files, and a setting that cannot be followed.
    """
    tokenizers = tokenizing.package("text")
    folder = Path(path)
    named, length = tokenizer_settings.read(folder, NAMES, FIXED)
    file = folder / tokenizing.NAME
    library = tokenizing.opened(tokenizers, file, tokenizing.stored(file))
    ids = tokenizer_settings.ids(folder, library, named)
    return RowTokenizer(library, min(length, longest), (), (ids["eos_token"],), ids["pad_token"])
