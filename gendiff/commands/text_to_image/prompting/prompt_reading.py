"""A prompt as tokens, and what a person should know of it: what is left out, and what encoder or network do not know."""

import warnings
from collections.abc import Collection, Iterator

from gendiff.commands.text_to_image import texts
from gendiff.core.errors import ConfigError
from gendiff.data.tokenizer import Tokens, TruncationWarning
from gendiff.runs.progress import Progress

ARTICLES = ("a", "an", "the")


def read(option: str, text: str, known: Collection[str], progress: Progress) -> Tokens:
    """The tokens of one text; a line says what of it the encoder leaves out, cannot write, or the network never read.

    known: the words of the training captions.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncationWarning)
            tokens = texts.tokens([text])
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{option}: {error}") from error
    for note in (*(str(each.message) for each in caught), *notes(text, int(tokens.unknown[0]), known)):
        progress.line(f"note: {option}: {note}")
    return tokens


def notes(text: str, unknown: int, known: Collection[str]) -> Iterator[str]:
    """What a person should know of a text. unknown: number of its tokens that the encoder cannot write."""
    if unknown:
        yield f"{unknown} of its tokens stand for letters that the encoder, which learned English, does not know"
    if words := unknown_words(text, known):
        yield f"no caption of the training has the word{'s' if len(words) > 1 else ''} {', '.join(words)}: the pictures may ignore them"


def unknown_words(text: str, known: Collection[str]) -> list[str]:
    """The words of a text that are not among those known, in their order, but for articles, which say nothing."""
    return list(dict.fromkeys(word for word in texts.words(text) if word not in known and word not in ARTICLES))
