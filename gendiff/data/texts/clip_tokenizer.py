"""The tokenizer of CLIP from the vocab.json and merges.txt of Stable Diffusion: texts as ids, and ids as rows.

Also known as: byte-pair encoding (BPE).

The file tokenizer.json of newer folders serves as well. `data.tokenizer` makes whole batches of such a file for other
encoders.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gendiff.core import foreign_files, tokenizing
from gendiff.core.errors import DataError
from gendiff.data.texts import tokenizer_settings
from gendiff.data.texts.row_tokenizer import SUFFIX, RowTokenizer

if TYPE_CHECKING:
    import tokenizers

VOCABULARY, MERGES = "vocab.json", "merges.txt"
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What a text is cut into before pieces are sought."""
FIXED: Mapping[str, tuple[object, ...]] = {
    "add_prefix_space": (False,),
    "do_lower_case": (True,),
    "errors": ("replace",),
    "tokenizer_class": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "additional_special_tokens": ([],),
    "extra_special_tokens": ([], {}),
    "split_special_tokens": (False,),
}
"""Settings that can be followed with these values only."""
NAMES = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
"""Its tokens, and what each is where no file says."""


def load(path: str | os.PathLike[str], *, like_transformers: bool = False) -> RowTokenizer:
    """Read the folder of a tokenizer: tokenizer_config.json beside vocab.json and merges.txt, or beside tokenizer.json.

    Args:
        path: the folder.
        like_transformers: take the word of the padding for the padding's own id wherever a text has it, as transformers
            does. In Stable Diffusion 2 and XL it is "!", and the encoder learned another id for that word.

    Raises:
        ImportError: without the package of the extra `text`.
        DataError: path first, for missing or damaged files, and a setting that cannot be followed.
    """
    tokenizers = tokenizing.package("text")
    folder = Path(path)
    named, length = tokenizer_settings.read(folder, NAMES, FIXED)
    pieces = folder / VOCABULARY, folder / MERGES
    if all(file.is_file() for file in pieces):
        library = _from_pieces(*pieces, named["unk_token"])
    elif (whole_file := folder / tokenizing.NAME).is_file():
        library = tokenizing.opened(tokenizers, whole_file, tokenizing.stored(whole_file))
    else:
        raise DataError(f"{folder}: no such tokenizer: {VOCABULARY} and {MERGES}, or {tokenizing.NAME}, are needed")
    ids = tokenizer_settings.ids(folder, library, named)
    special = {named["bos_token"], named["eos_token"], *([named["pad_token"]] if like_transformers else [])}
    library.add_special_tokens(
        [tokenizers.AddedToken(token, normalized=False, special=True) for token in sorted(special)]
    )
    return RowTokenizer(library, length, (ids["bos_token"],), (ids["eos_token"],), ids["pad_token"])


def _from_pieces(vocabulary: Path, merges: Path, unknown: str) -> "tokenizers.Tokenizer":
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers

    ids = foreign_files.json_object(vocabulary)
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in ids.values()):
        raise DataError(f"{vocabulary}: must give each piece its id")
    lines = foreign_files.text(merges).split("\n")
    pairs = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
    if wrong := [pair for pair in pairs if len(pair) != 2]:
        raise DataError(f"{merges}: {' '.join(wrong[0])!r} must be two pieces")
    try:
        model = tokenizers.models.BPE(
            ids,
            [(first, second) for first, second in pairs],
            continuing_subword_prefix="",
            end_of_word_suffix=SUFFIX,
            fuse_unk=False,
            unk_token=unknown,
        )
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"{merges}: does not fit {vocabulary.name}: {error}") from error
    library = tokenizers.Tokenizer(model)
    library.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(tokenizers.Regex(WORDS), behavior="removed", invert=True)
    library.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    library.decoder = tokenizers.decoders.ByteLevel()
    return library
