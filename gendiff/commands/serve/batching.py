"""Continuous batching of denoising steps: requests, their pictures on their way, and turns. It knows neither HTTP nor
JAX.

A turn takes one step of several pictures, at whatever step each is. Requests of unequal prompts, scales, seeds and
numbers of steps share turns, a picture that is finished makes room at once, and a short request overtakes a long one.
Also known as: in-flight batching, iteration-level scheduling; the order is that of fair queueing.
"""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gendiff.commands.serve.image_requests import ImageRequest

if TYPE_CHECKING:
    from gendiff.commands.serve.served_network import ReadTexts

RECENT = 0.1
"""Weight of the newest turn in the mean time of a turn."""
ALIKE = 4
"""Requests share a turn where none has more steps left than so many times those of the first one."""
SLOWER = 1.5
"""How much longer than theirs a turn may take by what is added to it."""
CLIENT_SHARE = 0.75
"""Share of all room that one client may take."""
LONGEST_WAIT = 600
"""Most seconds that anybody is told to wait."""
NOT_FINITE, BROKEN, STOPPED = "not_finite", "drawing_failed", "stopping"
"""Why no more comes of a request: its numbers leave the range, the program has failed, or nothing is drawn any more."""


class StepProgram(Protocol):
    """What draws, a step at a time. What it knows of a picture on its way is a value that only it reads.

    together: most pictures of a step.
    """

    together: int

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


@dataclasses.dataclass(frozen=True)
class Failed:
    """No more of the request comes. cause: NOT_FINITE, BROKEN or STOPPED."""

    reason: str
    cause: str


Event = Preview | Finished | Failed


class Full(Exception):
    """There is no room in the queue. seconds: after which it is worth asking again."""

    def __init__(self, taken: int, places: int, requested: int, seconds: int) -> None:
        super().__init__(f"{taken} of {places} places are taken, and this needs {requested}: ask again in {seconds} s")
        self.seconds = seconds


class Closed(Exception):
    """Nothing is drawn any more."""


@dataclasses.dataclass(eq=False)
class Ticket:
    """One request on its way. due: its turn in the order of all. rows: pictures to come. over: nothing more is told of
    it.
    """

    request: ImageRequest
    words: "ReadTexts"
    tell: Callable[[Event], None]
    client: str
    due: float
    rows: list["_Row"] = dataclasses.field(default_factory=list)
    over: bool = False

    @property
    def left(self) -> int:
        """Steps to come, of all its pictures."""
        return sum(row.to_come for row in self.rows)


@dataclasses.dataclass
class Totals:
    """Since the start. turns, rows: calls of the step, and steps of single pictures in them. spent: seconds of these
    calls.
    """

    requests: int = 0
    full: int = 0
    cancelled: int = 0
    failed: int = 0
    pictures: int = 0
    turns: int = 0
    rows: int = 0
    spent: float = 0.0


@dataclasses.dataclass(eq=False)
class _Row:
    ticket: Ticket
    index: int
    done: int = 0
    state: Any = None  # of the program

    @property
    def to_come(self) -> int:
        return self.ticket.request.run - self.done


class Batcher:
    """The scheduler of continuous batching. All threads may call `submit` and `cancel`, one thread calls `turn`.

    No lock is held while the program computes.

    The first request of a turn is the one that would be finished first if all clients shared the machine alike, and the
    requests of a client its share. So a short request overtakes a long one, and the long one comes first once
    the others have had as much as it needs.

    room: pictures that may be here, beside as many as one step takes.
    """

    def __init__(self, program: StepProgram, room: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._program, self._clock = program, clock
        self._places = room + program.together
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._shared = 0.0  # steps that each client would have had since the start, if all shared alike
        self._spent: dict[str, float] = {}  # the same of clients that have had more
        self._turn_seconds = 0.0
        self._closed = ""
        self.totals = Totals()

    @property
    def most_of_client(self) -> int:
        """Pictures of one client that may be here at once."""
        return math.ceil(CLIENT_SHARE * self._places)

    @property
    def waiting(self) -> int:
        """Pictures that have not begun."""
        return self._pictures(lambda row: row.state is None)

    @property
    def drawing(self) -> int:
        """Pictures that have begun."""
        return self._pictures(lambda row: row.state is not None)

    def _pictures(self, counts: Callable[["_Row"], bool]) -> int:
        with self._lock:
            return sum(counts(row) for ticket in self._tickets for row in ticket.rows)

    def submit(
        self, request: ImageRequest, words: "ReadTexts", tell: Callable[[Event], None], client: str = ""
    ) -> Ticket:
        """Take in all pictures of a request, or none. tell: hears every event of it, from the thread of the turns.

        Raises Full where they do not fit, and Closed after `close`.
        """
        with self._lock:
            if self._closed:
                raise Closed(self._closed)
            beside = [ticket for ticket in self._tickets if ticket.client == client]
            for tickets, places in ((self._tickets, self._places), (beside, self.most_of_client)):
                taken = sum(len(ticket.rows) for ticket in tickets)
                if taken + request.n > places:
                    self.totals.full += 1
                    raise Full(taken, places, request.n, self._seconds_of(tickets))
            start = max(self._shared, self._spent.get(client, 0.0))
            ticket = Ticket(request, words, tell, client, start + (1 + len(beside)) * request.n * request.run)
            ticket.rows = [_Row(ticket, index) for index in range(request.n)]
            self._tickets.append(ticket)
            self.totals.requests += 1
        return ticket

    def cancel(self, ticket: Ticket) -> bool:
        """Nobody waits for it: nothing more of it is drawn.

        Answers False, and does nothing, where it is finished or has failed.
        """
        with self._lock:
            if ticket.over:
                return False
            self.totals.cancelled += 1
            self._end(ticket)
            return True

    def close(self, reason: str) -> None:
        """Fail all requests that are here, and every later one."""
        with self._lock:
            self._closed, tickets = reason, list(self._tickets)
        for ticket in tickets:
            self._fail(ticket, reason, STOPPED)

    def turn(self) -> bool:
        """Take one step of some of the pictures. Answers False, and does nothing, where there are none.

        After an error of the program, which is raised, their requests have failed, and the others are as before.
        """
        with self._lock:
            rows = self._next_rows()
        if not rows:
            return False
        try:
            self._step(rows)
        except Exception as error:
            for ticket in dict.fromkeys(row.ticket for row in rows):
                self._fail(ticket, f"drawing failed: {error}", BROKEN)
            raise
        return True

    def _next_rows(self) -> list[_Row]:
        """The pictures of a turn. The lock is held.

        The first request; as many pictures of each other one that is not much longer; and whatever can be added without
        making the turn much longer.
        """
        tickets = sorted(self._tickets, key=lambda ticket: ticket.due)
        if not tickets:
            return []
        first, most = tickets[0].request, self._program.together
        share, longest = min(len(tickets[0].rows), most), ALIKE * first.n * first.run
        rows: list[_Row] = []
        others: list[_Row] = []
        for ticket in tickets:
            count = share if ticket.left <= longest else 0
            rows += ticket.rows[:count]
            others += ticket.rows[count:]
        rows = rows[:most]
        limit = SLOWER * self._program.cost(len(rows))
        more = [count for count in range(len(rows), most + 1) if self._program.cost(count) <= limit]
        rows += others[: max(more) - len(rows)]
        for row in rows:
            client = row.ticket.client
            self._spent[client] = max(self._shared, self._spent.get(client, 0.0)) + 1
        self._shared += len(rows) / len({ticket.client for ticket in tickets})
        self._spent = {client: steps for client, steps in self._spent.items() if steps > self._shared}
        return rows

    def _step(self, rows: Sequence[_Row]) -> None:
        for row in rows:
            if row.state is None:
                row.state = self._program.begin(row.ticket.request, row.ticket.words, row.index)
        begin = self._clock()
        states, finite = self._program.step([row.state for row in rows], [row.done for row in rows])
        self._count(len(rows), self._clock() - begin)
        for row, state, good in zip(rows, states, finite, strict=True):
            row.state, row.done = state, row.done + 1
            self._tell_of(row, good)

    def _tell_of(self, row: _Row, finite: bool) -> None:
        """What a step of a row has brought. Nobody hears of a ticket that is over."""
        ticket = row.ticket
        if ticket.over:
            return
        if not finite:
            reason = f"picture {row.index} is not finite after step {row.done}: ask for less guidance, or more steps"
            self._fail(ticket, reason, NOT_FINITE)
        elif row.to_come == 0:
            picture = self._program.picture(row.state)
            with self._lock:
                if ticket.over:
                    return
                self.totals.pictures += 1
                ticket.rows.remove(row)
                if not ticket.rows:
                    self._end(ticket)
            ticket.tell(Finished(row.index, picture))
        elif row.done in ticket.request.shown_after:
            ticket.tell(Preview(row.index, row.done, self._program.picture(row.state)))

    def _fail(self, ticket: Ticket, reason: str, cause: str) -> None:
        with self._lock:
            if ticket.over:
                return
            self.totals.failed += 1
            self._end(ticket)
        ticket.tell(Failed(reason, cause))

    def _end(self, ticket: Ticket) -> None:
        """The lock is held."""
        ticket.over = True
        self._tickets.remove(ticket)

    def _count(self, rows: int, seconds: float) -> None:
        totals = self.totals
        totals.turns, totals.rows, totals.spent = totals.turns + 1, totals.rows + rows, totals.spent + seconds
        self._turn_seconds = seconds if totals.turns == 1 else (1 - RECENT) * self._turn_seconds + RECENT * seconds

    def _seconds_of(self, tickets: Sequence[Ticket]) -> int:
        """Until all these are drawn, at least 1. The lock is held."""
        steps = sum(ticket.left for ticket in tickets)
        return max(1, min(LONGEST_WAIT, math.ceil(steps / self._program.together * self._turn_seconds)))
