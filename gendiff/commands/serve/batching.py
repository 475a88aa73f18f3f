"""Continuous batching of denoising steps: requests, their pictures on their way, and turns. It knows neither HTTP nor
JAX.

A turn takes one step of several pictures, at whatever step each is. Requests of unequal prompts, scales, seeds and
numbers of steps share turns, a picture that is finished makes room at once, and a short request overtakes a long one.
Also known as: in-flight batching, iteration-level scheduling; the order is that of fair queueing.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.request_scheduler import NOT_FINITE, Failed, RequestScheduler, Row, Ticket

if TYPE_CHECKING:
    from gendiff.commands.serve.served_network import ReadTexts

ALIKE = 4
"""Requests share a turn where none has more steps left than so many times those of the first one."""
SLOWER = 1.5
"""How much longer than theirs a turn may take by what is added to it."""


class StepProgram(Protocol):
    """What draws, a step at a time. What it knows of a picture on its way is a value that only it reads.

    together: most pictures of a step. ready: as many of them as a step may have now.
    """

    together: int
    ready: int

    def begin(self, request: ImageRequest, words: "ReadTexts", index: int) -> Any:  # only the program knows the type
        """Picture `index` of a request before its first step. words: its texts as this program reads them."""

    def step(self, rows: Sequence[Any], done: Sequence[int]) -> tuple[Sequence[Any], Sequence[bool]]:
        """The pictures after one more step, where each has taken so many; whether each is finite."""

    def picture(self, row: Any) -> np.ndarray:
        """What a picture on its way shows now."""

    def cost(self, count: int) -> float:
        """How long a step of so many pictures takes, in any unit."""


@dataclasses.dataclass(frozen=True)
class Preview:
    """Picture `index` after `step` of its steps."""

    index: int
    step: int
    picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Finished:
    """Picture `index` at its end."""

    index: int
    picture: np.ndarray


Event = Preview | Finished | Failed


class Batcher(RequestScheduler):
    """The scheduler of continuous batching of pictures.

    The first request of a turn is the one that would be finished first if all clients shared the machine alike, and the
    requests of a client its share. So a short request overtakes a long one, and the long one comes first once
    the others have had as much as it needs.
    """

    results, work = "pictures", "drawing"

    def __init__(self, program: StepProgram, room: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(program.together, room, clock)
        self._program = program

    def rows(self, ticket: Ticket) -> list[Row]:
        """As `RequestScheduler.rows`."""
        return [Row(ticket, index, ticket.request.run) for index in range(ticket.request.n)]

    def turn(self) -> bool:
        """As `RequestScheduler.turn`. The others are as before an error."""
        with self._lock:
            rows = self._next_rows()
        if not rows:
            return False
        try:
            self._step(rows)
        except Exception as error:
            self._fail_rows(rows, error)
            raise
        return True

    def _next_rows(self) -> list[Row]:
        """The pictures of a turn. The lock is held.

        The first request; as many pictures of each other one that is not much longer; and whatever can be added without
        making the turn much longer.
        """
        tickets = self._in_order()
        if not tickets:
            return []
        first, most = tickets[0].request, self._program.ready
        share, longest = min(len(tickets[0].rows), most), ALIKE * first.n * first.run
        rows: list[Row] = []
        others: list[Row] = []
        for ticket in tickets:
            count = share if ticket.left <= longest else 0
            rows += ticket.rows[:count]
            others += ticket.rows[count:]
        rows = rows[:most]
        limit = SLOWER * self._program.cost(len(rows))
        more = [count for count in range(len(rows), most + 1) if self._program.cost(count) <= limit]
        rows += others[: max(more) - len(rows)]
        self._charge(rows)
        return rows

    def _step(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.state is None:
                row.state = self._program.begin(row.ticket.request, row.ticket.words, row.index)
        begin = self._clock()
        states, finite = self._program.step([row.state for row in rows], [row.done for row in rows])
        self._count(len(rows), self._clock() - begin)
        for row, state, good in zip(rows, states, finite, strict=True):
            row.state, row.done = state, row.done + 1
            self._tell_of(row, good)

    def _tell_of(self, row: Row, finite: bool) -> None:
        """What a step of a row has brought. Nobody hears of a ticket that is over."""
        ticket = row.ticket
        if ticket.over:
            return
        if not finite:
            reason = f"picture {row.index} is not finite after step {row.done}: ask for less guidance, or more steps"
            self._fail(ticket, reason, NOT_FINITE)
        elif row.to_come == 0:
            self._finish(row, Finished(row.index, self._program.picture(row.state)))
        elif row.done in ticket.request.shown_after:
            ticket.tell(Preview(row.index, row.done, self._program.picture(row.state)))
