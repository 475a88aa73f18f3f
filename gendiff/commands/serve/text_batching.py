"""Continuous batching of tokens: prompts are read and replies are written together. It knows neither HTTP nor JAX.

A turn reads one chunk of one prompt and takes one token of every reply whose prompt is read, or several where guesses
of them were right (speculative decoding with prompt lookup). A request begins where a slot is free and the cache has
room for its prompt and the longest reply that it asks for, so that no reply that has begun must give way.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from gendiff.commands.serve.reply_text import Part, ReplyText, Score
from gendiff.commands.serve.request_scheduler import BROKEN, RequestScheduler, Row, Ticket
from gendiff.commands.serve.text_requests import TextRequest

LENGTH, STOP = "length", "stop"
"""Why a reply ends, in OpenAI's words: it is as long as it may be; the model, or a stop string, has ended it."""
MATCH = 3
"""Tokens that must have stood before, so that those behind them are guessed."""
JUDGING, PAUSE = 2.5, 32
"""Steps that a step with guesses costs; tokens without guesses after a step that gave fewer. As in
`language.guess_policy`.
"""


@dataclasses.dataclass(frozen=True)
class Newest:
    """A text whose next token is drawn. slot: of the cache. token: its newest, which is not in the cache. length: of
    what is. number: of the token to come, from 0. index: names the reply among those of a seed. top: how many of the
    likeliest tokens are told. guesses: of the tokens to come.
    """

    slot: int
    token: int
    length: int
    seed: int
    index: int
    number: int
    temperature: float
    top_p: float
    top: int = 0
    guesses: tuple[int, ...] = ()


class TokenProgram(Protocol):
    """What computes. Texts stand in slots of its cache.

    together: slots. chunk: tokens that are read at once. page, pages: how many tokens a page holds, and how many pages
    all texts share. guesses: most that a text may have in a step.
    """

    together: int
    chunk: int
    guesses: int
    page: int
    pages: int

    def read(self, slot: int, tokens: np.ndarray, length: int) -> None:
        """Put at most a chunk of tokens (s,) behind the `length` that a slot has."""

    def step(self, texts: Sequence[Newest]) -> list[list[Score]]:
        """Draw the next token of each, after it has read the newest, and one behind each guess that was right."""

    def clear(self, slot: int) -> None:
        """Empty a slot."""

    def reset(self) -> None:
        """Empty all, after an error."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """More of reply `index`."""

    index: int
    part: Part


@dataclasses.dataclass(frozen=True)
class Ended(Piece):
    """The last of it. reason: LENGTH or STOP. tokens: how many were drawn, that which ended it included."""

    reason: str
    tokens: int


@dataclasses.dataclass
class _Writing:
    """A reply on its way. ids: (prompt + longest reply,) its tokens, of which `prompt` were there before. read: how
    many are in the cache. resumes: the number of the token from which on there are guesses.
    """

    slot: int
    pages: int
    ids: np.ndarray
    prompt: int
    text: ReplyText
    read: int = 0
    resumes: int = 0


class TextBatcher(RequestScheduler):
    """The scheduler of a language model. A ticket's words are the ids (s,) of its prompts, each for `n` replies.

    pieces: bytes of each token. ends: tokens that end a reply.
    """

    results, work = "replies", "writing"

    def __init__(
        self,
        program: TokenProgram,
        pieces: Sequence[bytes],
        ends: Collection[int],
        room: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(program.together, room, clock)
        self._program, self._pieces, self._ends = program, pieces, frozenset(ends)
        self._slots: list[Row | None] = [None] * program.together

    def rows(self, ticket: Ticket) -> list[Row]:
        """As `RequestScheduler.rows`."""
        request: TextRequest = ticket.request
        return [Row(ticket, index, request.max_tokens) for index in range(len(ticket.words) * request.n)]

    def turn(self) -> bool:
        """As `RequestScheduler.turn`. After an error all that was begun has failed."""
        try:
            left = [row for row in self._slots if row is not None and row.ticket.over]
            for row in left:  # nobody waits for them any more
                self._free(row)
            with self._lock:
                started = self._begin()
            return self._read() | self._step() | bool(left or started)
        except Exception as error:
            rows = [row for row in self._slots if row is not None]
            self._slots = [None] * self._program.together
            self._fail_rows(rows, error)
            self._program.reset()
            raise

    def _begin(self) -> list[Row]:
        """Give slots to the rows that are next, as long as there is room. The lock is held."""
        rows = []
        available = self._program.pages - sum(row.state.pages for row in self._slots if row is not None)
        for row in (row for ticket in self._in_order() for row in ticket.rows if row.state is None):
            request, prompt = row.ticket.request, row.ticket.words[row.index // row.ticket.request.n]
            pages = math.ceil((len(prompt) + request.max_tokens) / self._program.page)
            if None not in self._slots or pages > available:
                break  # and none that comes later may overtake it for ever
            slot, available = self._slots.index(None), available - pages
            ids = np.concatenate([prompt, np.zeros(request.max_tokens, np.int32)])
            row.state = _Writing(slot, pages, ids, len(prompt), ReplyText(self._pieces, request.stop))
            self._slots[slot] = row
            rows.append(row)
        return rows

    def _read(self) -> bool:
        """One chunk of the prompt that came first of those that are not read but for their last token."""
        unread = [row for row in self._slots if row is not None and row.state.read < row.state.prompt - 1]
        if not unread:
            return False
        row = min(unread, key=lambda row: row.ticket.due)
        state = row.state
        tokens = state.ids[state.read : state.prompt - 1][: self._program.chunk]
        self._program.read(state.slot, tokens, state.read)
        state.read += len(tokens)
        with self._lock:
            self._charge([row])
        return True

    def _step(self) -> bool:
        rows = [row for row in self._slots if row is not None and row.state.read >= row.state.prompt - 1]
        if not rows:
            return False
        with self._lock:
            self._charge(rows)
        start = self._clock()
        texts = [self._newest(row) for row in rows]
        sampled = self._program.step(texts)
        self._count(len(rows), self._clock() - start)
        for row, text, scores in zip(rows, texts, sampled, strict=True):
            if text.guesses:
                self.totals.guessed += len(text.guesses)
                self.totals.accepted += len(scores) - 1
                if len(scores) < JUDGING:
                    row.state.resumes = row.done + len(scores) + PAUSE
            for score in scores:
                if not self._add(row, score):
                    break
        return True

    def _newest(self, row: Row) -> Newest:
        state, request = row.state, row.ticket.request
        about = request.seed, row.index, row.done, request.temperature, request.top_p, request.top
        most = min(self._program.guesses, row.to_come - 1) if row.done >= state.resumes else 0
        guesses = looked_up(state.ids[: state.read + 1], most) if most >= JUDGING - 1 else ()
        return Newest(state.slot, int(state.ids[state.read]), state.read, *about, guesses)

    def _add(self, row: Row, score: Score) -> bool:
        """One more token of a reply; whether it goes on."""
        state, ticket = row.state, row.ticket
        row.done, state.read = row.done + 1, state.read + 1
        state.ids[state.read] = score.token
        if not math.isfinite(score.log_prob):
            self._fail(ticket, f"token {row.done} of reply {row.index} is not finite", BROKEN)
            return False
        ended = score.token in self._ends
        part = Part("", ()) if ended else state.text.add(score)
        stopped = ended or part.stopped
        if not (stopped or row.to_come == 0):
            if not ticket.over and (part.text or part.scores):
                ticket.tell(Piece(row.index, part))
            return True
        if not part.stopped:
            rest = state.text.end()
            part = Part(part.text + rest.text, part.scores + rest.scores)
        self._finish(row, Ended(row.index, part, STOP if stopped else LENGTH, row.done))
        self._free(row)
        return False

    def _free(self, row: Row) -> None:
        self._slots[row.state.slot] = None
        self._program.clear(row.state.slot)


def looked_up(ids: np.ndarray, most: int) -> tuple[int, ...]:
    """At most so many tokens that stood behind the last MATCH of a text (s,) where these stood before, the latest time:
    what `language.drafts.prompt_lookup(MATCH)` guesses.
    """
    if len(ids) <= MATCH:
        return ()
    earlier = np.lib.stride_tricks.sliding_window_view(ids[:-1], MATCH)
    begins = np.flatnonzero((earlier == ids[-MATCH:]).all(axis=1))
    return tuple(ids[begins[-1] + MATCH :][:most].tolist()) if len(begins) else ()
