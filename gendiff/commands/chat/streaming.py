"""Text that is shown while it is generated, and how fast it came."""

import codecs
import re
import sys
import time
from typing import TextIO

import numpy as np

from gendiff.language.tokens import LanguageTokenizer

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal obeys, without the end of a line and the tabulator."""


class Writer:
    """Shows the text of each token at once, and on a terminal control characters as escapes. The decoding loop always
    gets the same one, so that one compile serves all answers.
    """

    def __init__(self, tokenizer: LanguageTokenizer, stream: TextIO | None = None) -> None:
        self._tokenizer, self._stream = tokenizer, stream
        self.begin()

    def begin(self) -> None:
        """Before an answer."""
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._started, self._times = time.perf_counter(), list[float]()

    def __call__(self, index: np.ndarray, number: np.ndarray, token: np.ndarray) -> None:
        """One more token of the one text there is."""
        if token[0] >= 0:
            self._times.append(time.perf_counter())
            self._show(self._characters.decode(self._tokenizer.pieces[int(token[0])]))

    def end(self) -> None:
        """After an answer."""
        self._show(self._characters.decode(b"", True) + "\n")

    def speed(self, tokens: int, read: int) -> str:
        """How long the first token took, compilation included, and how fast the others came."""
        if not self._times:
            return "no token"
        first, others = self._times[0] - self._started, self._times[-1] - self._times[0]
        rate = f", then {(tokens - 1) / others:.0f} tokens per second" if tokens > 1 and others > 0 else ""
        return f"[{read} tokens read, {tokens} written; {first:.1f} s to the first{rate}]"

    def _show(self, text: str) -> None:
        stream = self._stream or sys.stdout
        if stream.isatty():
            text = _CONTROLS.sub(lambda control: control[0].encode("unicode_escape").decode(), text)
        if text:
            print(text, end="", flush=True, file=stream)
