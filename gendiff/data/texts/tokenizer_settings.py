"""What a tokenizer_config.json says: the tokens with a meaning, and how many tokens a row has.

What it may not say is refused by name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gendiff.core import checks, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.tokenizing import LONGEST

if TYPE_CHECKING:
    import tokenizers

SETTINGS, SPECIAL, LENGTH = "tokenizer_config.json", "special_tokens_map.json", "model_max_length"
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


def read(
    folder: Path, names: Mapping[str, str], fixed: Mapping[str, tuple[object, ...]], *, most: int = LONGEST
) -> tuple[dict[str, str], int]:
    """The settings of a tokenizer.

    Args:
        folder: that holds its files.
        names: of its tokens with a meaning, such as "eos_token" -> what each is where no file says.
        fixed: further settings -> the values that can be followed; () for any.
        most: tokens that a row may have.

    Returns:
        What each of the tokens is, and the tokens of a row: 77 where no file says.

    Raises:
        DataError: path first, for a missing or damaged file, and a setting without a match.
    """
    file = folder / SETTINGS
    content = foreign_files.json_object(file)
    for name, value in content.items():
        if fixed.get(name) and value not in fixed[name] and value is not None:
            raise DataError(f"{file}: {name} = {value!r} is not supported, only {', '.join(map(repr, fixed[name]))}")
        if name not in (*fixed, *names, *NOTES, LENGTH):
            raise DataError(f"{file}: {name} = {value!r} is a setting that is not known here")
    stored: dict[str, object] = dict(names) | {name: content[name] for name in names if name in content}
    special = folder / SPECIAL
    if special.exists() and "added_tokens_decoder" not in content:  # newer files say all in one place
        stored |= {name: value for name, value in foreign_files.json_object(special).items() if name in names}
    named: dict[str, str] = {}
    for name, value in stored.items():
        token = value.get("content") if isinstance(value, dict) else value
        if not isinstance(token, str):
            raise DataError(f"{folder}: {name} = {token!r} must be a token")
        named[name] = token
    length = content.get(LENGTH, 77)
    try:
        checks.integer(LENGTH, length, 3, most)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: {error}") from error
    return named, length


def ids(folder: Path, library: "tokenizers.Tokenizer", named: Mapping[str, str]) -> dict[str, int]:
    """The id of each token with a meaning.

    Raises:
        DataError: path first, for one that is not in the vocabulary.
    """
    result: dict[str, int] = {}
    for name, token in named.items():
        number = library.token_to_id(token)
        if number is None:
            raise DataError(f"{folder}: {name} = {token!r} is not in its vocabulary")
        result[name] = number
    return result
