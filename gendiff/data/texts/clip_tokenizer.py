"""The tokenizer of CLIP from the vocab.json and merges.txt of Stable Diffusion: texts as ids, and ids as rows.

Also known as: byte-pair encoding (BPE).

The file tokenizer.json of newer folders serves as well. `data.tokenizer` makes whole batches of such a file for other
encoders.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32

from gendiff.core import checks, json_object, tokenizing
from gendiff.core.errors import DataError
from gendiff.core.tokenizing import LONGEST

if TYPE_CHECKING:
    import tokenizers

VOCABULARY, MERGES = "vocab.json", "merges.txt"
SETTINGS, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"
"""What the last piece of each word ends with."""
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
TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
NOTES = (
    *(
        "name_or_path",
        "special_tokens_map_file",
        "tokenizer_file",
        "processor_class",
        "backend",
        "is_local",
        "local_files_only",
    ),
    *(
        "clean_up_tokenization_spaces",
        "model_input_names",
        "added_tokens_decoder",
        "return_token_type_ids",
        "return_offsets_mapping",
    ),
    *(
        "max_length",
        "stride",
        "truncation_side",
        "truncation_strategy",
        "padding_side",
        "pad_to_multiple_of",
        "pad_token_type_id",
    ),
)
"""Settings that have no part in what the ids of a text are."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClipTokenizer:
    """Texts as ids of words, and ids of words as rows of one length. `load` builds it.

    Attributes:
        library: the `tokenizers.Tokenizer`.
        length: tokens of a row: 77 for CLIP.
        start: id that begins a row.
        end: id that ends one.
        padding: id that fills up what is left.
    """

    library: "tokenizers.Tokenizer"
    length: int
    start: int
    end: int
    padding: int

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return int(max(self.library.get_vocab(with_added_tokens=True).values())) + 1

    @property
    def room(self) -> int:
        """Ids of words that a row has place for."""
        return self.length - 2

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without those that begin and end a row. An empty text has none.

        Raises:
            TypeError: for what is no text.
            ValueError: for more than 8192 characters, or a half of a character.
        """
        tokenizing.checked("text", text)
        return list(self.library.encode(text, add_special_tokens=False).ids)

    def row(self, ids: Sequence[int]) -> Int32[np.ndarray, " s"]:
        """The row of at most `room` ids of words.

        Raises:
            ValueError: for more of them.
        """
        if len(ids) > self.room:
            raise ValueError(f"{len(ids)} ids do not fit into a row, which has room for {self.room}")
        row = np.full(self.length, self.padding, np.int32)
        row[: len(ids) + 2] = (self.start, *ids, self.end)
        return row

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids of words."""
        text: str = self.library.decode(list(ids), skip_special_tokens=False)
        return text.replace(SUFFIX, " ").strip()


def load(path: str | os.PathLike[str], *, like_transformers: bool = False) -> ClipTokenizer:
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
    named, length = _settings(folder)
    pieces = folder / VOCABULARY, folder / MERGES
    if all(file.is_file() for file in pieces):
        library = _from_pieces(*pieces, named["unk_token"])
    elif (whole_file := folder / tokenizing.NAME).is_file():
        library = tokenizing.opened(tokenizers, whole_file, tokenizing.stored(whole_file))
    else:
        raise DataError(f"{folder}: no such tokenizer: {VOCABULARY} and {MERGES}, or {tokenizing.NAME}, are needed")
    ids: dict[str, int] = {}
    for name, token in named.items():
        number = library.token_to_id(token)
        if number is None:
            raise DataError(f"{folder}: {name} = {token!r} is not in its vocabulary")
        ids[name] = number
    special = {named["bos_token"], named["eos_token"], *([named["pad_token"]] if like_transformers else [])}
    library.add_special_tokens(
        [tokenizers.AddedToken(token, normalized=False, special=True) for token in sorted(special)]
    )
    return ClipTokenizer(library, length, ids["bos_token"], ids["eos_token"], ids["pad_token"])


def _settings(folder: Path) -> tuple[dict[str, str], int]:
    """(the tokens that begin, end, stand for the unknown and pad, by their names; length of a row)."""
    file = folder / SETTINGS
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    content = json_object.read(file)
    for name, value in content.items():
        if name in FIXED and value not in FIXED[name] and value is not None:
            raise DataError(f"{file}: {name} = {value!r} is not supported, only {', '.join(map(repr, FIXED[name]))}")
        if name not in (*FIXED, *TOKENS, *NOTES, "model_max_length"):
            raise DataError(f"{file}: {name} = {value!r} is a setting that is not known here")
    stored: dict[str, object] = dict(zip(TOKENS, (START, END, END, END), strict=True)) | {
        name: content[name] for name in TOKENS if name in content
    }
    special = folder / SPECIAL
    if special.is_file() and "added_tokens_decoder" not in content:  # newer files say all in one place
        stored |= {name: value for name, value in json_object.read(special).items() if name in TOKENS}
    named: dict[str, str] = {}
    for name, value in stored.items():
        token = value.get("content") if isinstance(value, dict) else value
        if not isinstance(token, str):
            raise DataError(f"{folder}: {name} = {token!r} must be a token")
        named[name] = token
    length = content.get("model_max_length", 77)
    try:
        checks.integer("model_max_length", length, 3, LONGEST)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: {error}") from error
    return named, length


def _from_pieces(vocabulary: Path, merges: Path, unknown: str) -> "tokenizers.Tokenizer":
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers

    ids = json_object.read(vocabulary)
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in ids.values()):
        raise DataError(f"{vocabulary}: must give each piece its id")
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise DataError(f"{merges}: not a text in UTF-8: {error}") from error
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
