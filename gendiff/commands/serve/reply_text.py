"""The text of a reply, from its tokens as they come, up to a stop string wherever that begins and ends in them.

Text is held back while it may be the beginning of a stop string. Which stop string ends a reply, and where, is a
function of the text alone: that whose end comes first, not of how tokens cut it.
"""

import codecs
import collections
import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Score:
    """A token with its log-probability, and the likeliest tokens in its stead with theirs: those of the model itself,
    before temperature and top-p.
    """

    token: int
    log_prob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Part:
    """What may be shown of a reply since the last part. scores: of the tokens whose text begins in it. stopped: whether
    a stop string has ended the reply.
    """

    text: str
    scores: tuple[Score, ...]
    stopped: bool = False


class ReplyText:
    """One reply. pieces: bytes of each token. stops: strings before which the reply ends."""

    def __init__(self, pieces: Sequence[bytes], stops: Sequence[str]) -> None:
        self._pieces, self._stops = pieces, stops
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._held, self._shown = "", 0  # text that is held back; characters before it
        self._scores = collections.deque[tuple[int, Score]]()  # with the character at which their text begins

    def add(self, score: Score) -> Part:
        """One more token."""
        self._scores.append((self._shown + len(self._held), score))
        return self._part(self._characters.decode(written(self._pieces, score.token)), last=False)

    def end(self) -> Part:
        """No token comes any more."""
        return self._part(self._characters.decode(b"", True), last=True)

    def _part(self, text: str, last: bool) -> Part:
        self._held += text
        ends = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        cut = min(ends)[1] if ends else len(self._held) - (0 if last else self._beginning())
        ready, self._held = self._held[:cut], self._held[cut:]
        self._shown += len(ready)
        scores = []
        while self._scores and (self._scores[0][0] < self._shown or (last and not ends)):
            scores.append(self._scores.popleft()[1])
        return Part(ready, tuple(scores), bool(ends))

    def _beginning(self) -> int:
        """How many characters at the end are those at which a stop string begins."""
        most = min(len(self._held), max(map(len, self._stops), default=1) - 1)
        return next(
            (size for size in range(most, 0, -1) if any(stop.startswith(self._held[-size:]) for stop in self._stops)), 0
        )


def written(pieces: Sequence[bytes], token: int) -> bytes:
    """What a token writes: nothing where the model's table has more rows than the tokenizer has ids."""
    return pieces[token] if token < len(pieces) else b""
