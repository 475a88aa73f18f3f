"""What a text carries: a watermark in the choice of its tokens."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gendiff.commands.chat import models
from gendiff.core.errors import ConfigError, DataError
from gendiff.data import text
from gendiff.provenance import text_detection, watermark_files
from gendiff.provenance.text_watermarks import TextWatermark

BYTES = "bytes"
PADDED = 1.01
"""Times the ids of a tokenizer that a network's vocabulary has at most: some round theirs up."""


class Tokens(NamedTuple):
    """encode: a text as ids (s,). sizes: least and largest vocabulary of a mark that belongs to these tokens."""

    encode: Callable[[str], np.ndarray]
    sizes: tuple[int, int]


def tokenizer(model: str | None) -> Tokens:
    """How texts become tokens. Raises ConfigError without a model, and as `models.tokenizer` does."""
    if model is None:
        raise ConfigError(
            "--mark of a text needs --model smollm2, bytes or PATH: a watermark lies in the choice of tokens"
        )
    if model == BYTES:
        return Tokens(lambda string: np.frombuffer(string.encode(), np.uint8).astype(np.int32), (256, 257))
    tokens = models.tokenizer(model)
    return Tokens(tokens.encode, (tokens.size, int(tokens.size * PADDED)))


def watermark(path: Path, file: Path, tokens: Tokens) -> Iterator[str]:
    """A mark in the tokens. Raises DataError for a file that is no mark, and for a mark of another vocabulary."""
    mark, (least, most) = watermark_files.load(file), tokens.sizes
    if not least <= mark.vocabulary <= most:
        raise DataError(
            f"{file}: the mark is for {mark.vocabulary} tokens, but the tokenizer of --model has {least}: give that of "
            "the mark"
        )
    ids = np.asarray(tokens.encode(text.read(path).texts[0]), np.int32)[None]
    detection = text_detection.detect(mark, ids)
    scored = f"{detection.scored[0]} of {ids.shape[1]} tokens scored"
    yield f"watermark {file}: {type(mark).__name__}, {scored}, z = {detection.z[0]:.2f}, p = {detection.p[0]:.3g}"
    yield from _window(mark, ids)


def _window(mark: TextWatermark, ids: np.ndarray) -> Iterator[str]:
    """The part that looks most marked, where the text is long enough to have parts."""
    window = text_detection.detect_windows(mark, ids)[0]
    if window is not None and window.stop - window.start < ids.shape[1]:
        yield (
            f"  the part that fits best: tokens {window.start} … {window.stop - 1}, p = {window.p:.3g} for the whole "
            "search"
        )
