"""What every scheduler of a server does with requests: it takes them in, ends those that nobody waits for, and shares
the machine among clients. It knows neither HTTP nor JAX.

The order is that of fair queueing.
"""

import abc
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

RECENT = 0.1
"""Weight of the newest turn in the mean time of a turn."""
CLIENT_SHARE = 0.75
"""Share of all room that one client may take."""
LONGEST_WAIT = 600
"""Most seconds that anybody is told to wait."""
NOT_FINITE, BROKEN, STOPPED = "not_finite", "failed", "stopping"
"""Why no more comes of a request: its numbers leave the range, the program has failed, or the server stops."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """No more of the request comes. cause: NOT_FINITE, BROKEN or STOPPED."""

    reason: str
    cause: str


class Full(Exception):
    """There is no room in the queue. seconds: after which it is worth asking again."""

    def __init__(self, taken: int, places: int, requested: int, seconds: int) -> None:
        super().__init__(f"{taken} of {places} places are taken, and this needs {requested}: ask again in {seconds} s")
        self.seconds = seconds


class Closed(Exception):
    """Nothing is answered any more."""


@dataclasses.dataclass(eq=False)
class Row:
    """One result of a request on its way. steps: most that it takes. state: of the program, None before its begin."""

    ticket: "Ticket"
    index: int
    steps: int
    done: int = 0
    state: Any = None  # only the program knows the type

    @property
    def to_come(self) -> int:
        """Steps, at most."""
        return self.steps - self.done


@dataclasses.dataclass(eq=False)
class Ticket:
    """One request on its way. words: its texts as the program reads them. due: its turn in the order of all. rows: to
    come. count: how many they were. over: nothing more is told of it.
    """

    request: Any  # of one server
    words: Any
    tell: Callable[[Any], None]  # its events
    client: str
    due: float = 0.0
    rows: list[Row] = dataclasses.field(default_factory=list)
    count: int = 0
    over: bool = False

    @property
    def left(self) -> int:
        """Steps to come, of all its rows."""
        return sum(row.to_come for row in self.rows)


@dataclasses.dataclass
class Totals:
    """Since the start. results: rows that were finished. turns, rows: calls of the step, and steps of single rows in
    them. spent: seconds of these calls. guessed, accepted: tokens that were guessed, and those that were right.
    """

    requests: int = 0
    full: int = 0
    cancelled: int = 0
    failed: int = 0
    results: int = 0
    turns: int = 0
    rows: int = 0
    spent: float = 0.0
    guessed: int = 0
    accepted: int = 0


class RequestScheduler(abc.ABC):
    """All threads may call `submit` and `cancel`, one thread calls `turn`. No lock is held while a program computes.

    results, work: what its rows become, and what is done until then, as metrics name them. room: rows that may be here,
    beside as many as one step takes.
    """

    results: str
    work: str

    def __init__(self, together: int, room: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._together, self._places, self._clock = together, room + together, clock
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._shared = 0.0  # steps that each client would have had since the start, if all shared alike
        self._spent: dict[str, float] = {}  # the same of clients that have had more
        self._turn_seconds = 0.0
        self._closed = ""
        self.totals = Totals()

    @abc.abstractmethod
    def turn(self) -> bool:
        """Take one step of some of the rows. Answers False, and does nothing, where there are none.

        After an error of the program, which is raised, the requests of the turn have failed.
        """

    @abc.abstractmethod
    def rows(self, ticket: Ticket) -> list[Row]:
        """The results of a request before their begin."""

    @property
    def most_of_client(self) -> int:
        """Rows of one client that may be here at once."""
        return math.ceil(CLIENT_SHARE * self._places)

    @property
    def waiting(self) -> int:
        """Rows that have not begun."""
        return self._count_rows(lambda row: row.state is None)

    @property
    def active(self) -> int:
        """Rows that have begun."""
        return self._count_rows(lambda row: row.state is not None)

    def _count_rows(self, counts: Callable[[Row], bool]) -> int:
        with self._lock:
            return sum(counts(row) for ticket in self._tickets for row in ticket.rows)

    def submit(self, request: Any, words: Any, tell: Callable[[Any], None], client: str = "") -> Ticket:
        """Take in all of a request, or nothing. tell: hears every event of it, from the thread of the turns.

        Raises Full where it does not fit, and Closed after `close`.
        """
        ticket = Ticket(request, words, tell, client)
        ticket.rows = self.rows(ticket)
        ticket.count = len(ticket.rows)
        with self._lock:
            if self._closed:
                raise Closed(self._closed)
            beside = [each for each in self._tickets if each.client == client]
            for tickets, places in ((self._tickets, self._places), (beside, self.most_of_client)):
                taken = sum(len(each.rows) for each in tickets)
                if taken + ticket.count > places:
                    self.totals.full += 1
                    raise Full(taken, places, ticket.count, self._seconds_of(tickets))
            start = max(self._shared, self._spent.get(client, 0.0))
            ticket.due = start + (1 + len(beside)) * ticket.left
            self._tickets.append(ticket)
            self.totals.requests += 1
        return ticket

    def cancel(self, ticket: Ticket) -> bool:
        """Nobody waits for it: nothing more of it is computed.

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

    def _in_order(self) -> list[Ticket]:
        """By their turn. The lock is held."""
        return sorted(self._tickets, key=lambda ticket: ticket.due)

    def _charge(self, rows: Sequence[Row]) -> None:
        """Clients pay for a step of their rows. The lock is held."""
        for row in rows:
            client = row.ticket.client
            self._spent[client] = max(self._shared, self._spent.get(client, 0.0)) + 1
        clients = {ticket.client for ticket in self._tickets} | {row.ticket.client for row in rows}  # some have left
        self._shared += len(rows) / len(clients)
        self._spent = {client: steps for client, steps in self._spent.items() if steps > self._shared}

    def _fail_rows(self, rows: Sequence[Row], error: Exception) -> None:
        for ticket in dict.fromkeys(row.ticket for row in rows):
            self._fail(ticket, f"{self.work} failed: {error}", BROKEN)

    def _fail(self, ticket: Ticket, reason: str, cause: str) -> None:
        with self._lock:
            if ticket.over:
                return
            self.totals.failed += 1
            self._end(ticket)
        ticket.tell(Failed(reason, cause))

    def _finish(self, row: Row, event: Any) -> None:
        """A row is at its end; nobody hears of it where its ticket is over."""
        ticket = row.ticket
        with self._lock:
            if ticket.over:
                return
            self.totals.results += 1
            ticket.rows.remove(row)
            if not ticket.rows:
                self._end(ticket)
        ticket.tell(event)

    def _end(self, ticket: Ticket) -> None:
        """The lock is held."""
        ticket.over = True
        self._tickets.remove(ticket)

    def _count(self, rows: int, seconds: float) -> None:
        totals = self.totals
        totals.turns, totals.rows, totals.spent = totals.turns + 1, totals.rows + rows, totals.spent + seconds
        self._turn_seconds = seconds if totals.turns == 1 else (1 - RECENT) * self._turn_seconds + RECENT * seconds

    def _seconds_of(self, tickets: Sequence[Ticket]) -> int:
        """Until all these are answered, at least 1. The lock is held."""
        steps = sum(ticket.left for ticket in tickets)
        return max(1, min(LONGEST_WAIT, math.ceil(steps / self._together * self._turn_seconds)))
