"""Continuous batching of denoising steps: a queue, the slots of a program, and turns. It knows neither HTTP nor JAX.

A turn fills free slots from the queue, and takes one step of every picture that is being drawn. So pictures of unequal
prompts, scales, seeds and numbers of steps are drawn together, a picture that is finished makes room at once, and
nobody waits for a slower neighbour. Also known as: in-flight batching, iteration-level scheduling.
"""

import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gendiff.commands.serve.image_requests import ImageRequest

if TYPE_CHECKING:
    from gendiff.commands.serve.served_network import ReadTexts

RECENT = 0.1
"""Weight of the newest turn in the mean time of a turn."""
LONGEST_WAIT = 600
"""Most seconds that anybody is told to wait."""
NOT_FINITE, BROKEN, STOPPED = "not_finite", "drawing_failed", "stopping"
"""Why no more comes of a request: its numbers leave the range, the program has failed, or nothing is drawn any more."""


class StepProgram(Protocol):
    """What draws: `slots` places, each of which holds one picture on its way."""

    slots: int

    def enter(self, slot: int, request: ImageRequest, words: "ReadTexts", index: int) -> None:
        """Put picture `index` of a request into a slot. words: the texts of the request as this program reads them."""

    def step(self, slots: Sequence[int], done: Sequence[int]) -> Sequence[bool]:
        """Take one step in each of these slots, after so many in each; whether what is there is finite."""

    def picture(self, slot: int) -> np.ndarray:
        """What a slot shows now."""

    def restart(self) -> None:
        """Forget what is in all slots, after an error."""


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
    """One request on its way. left: pictures to come. over: nothing more is told of it."""

    request: ImageRequest
    words: "ReadTexts"
    tell: Callable[[Event], None]
    left: int
    over: bool = False


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


@dataclasses.dataclass
class _Row:
    ticket: Ticket
    index: int
    done: int = 0

    @property
    def to_come(self) -> int:
        return self.ticket.request.steps - self.done


class Batcher:
    """The scheduler of continuous batching. All threads may call `submit` and `cancel`, one thread calls `turn`.

    No lock is held while the program computes.

    room: pictures that may wait, beside those in the slots.
    """

    def __init__(self, program: StepProgram, room: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._program, self._room, self._clock = program, room, clock
        self._lock = threading.Lock()
        self._queue: deque[_Row] = deque()
        self._slots: list[_Row | None] = [None] * program.slots
        self._turn_seconds = 0.0
        self._closed = ""
        self.totals = Totals()

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        with self._lock:
            return len(self._queue)

    @property
    def drawing(self) -> int:
        """Pictures in slots."""
        with self._lock:
            return sum(row is not None for row in self._slots)

    def submit(self, request: ImageRequest, words: "ReadTexts", tell: Callable[[Event], None]) -> Ticket:
        """Queue all pictures of a request, or none. tell: hears every event of it, from the thread of the turns.

        Raises Full where they do not fit, and Closed after `close`. Free slots count as room.
        """
        with self._lock:
            if self._closed:
                raise Closed(self._closed)
            taken = len(self._queue) + sum(row is not None for row in self._slots)
            places = self._room + len(self._slots)
            if taken + request.n > places:
                self.totals.full += 1
                raise Full(taken, places, request.n, self._seconds_of_all())
            ticket = Ticket(request, words, tell, request.n)
            self._queue.extend(_Row(ticket, index) for index in range(request.n))
            self.totals.requests += 1
        return ticket

    def cancel(self, ticket: Ticket) -> bool:
        """Nobody waits for it: what is queued of it goes, and what is being drawn stops before its next step.

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
            self._closed = reason
            tickets = list(dict.fromkeys(row.ticket for row in (*self._slots, *self._queue) if row is not None))
        for ticket in tickets:
            self._fail(ticket, reason, STOPPED)

    def turn(self) -> bool:
        """Take one step of all that is in the slots. Answers False, and does nothing, where there is no work.

        After an error of the program, which is raised, requests in the slots have failed, and the queue is as before.
        """
        try:
            self._fill()
            return self._step()
        except Exception as error:
            self._fail_all(f"drawing failed: {error}")
            raise

    def _step(self) -> bool:
        with self._lock:
            active = [(slot, row) for slot, row in enumerate(self._slots) if row is not None]
        if not active:
            return False
        begin = self._clock()
        finite = self._program.step([slot for slot, _ in active], [row.done for _, row in active])
        self._count(len(active), self._clock() - begin)
        for (slot, row), good in zip(active, finite, strict=True):
            self._tell_of(slot, row, good)
        return True

    def _fill(self) -> None:
        """From the queue into free slots, the first that came first."""
        while True:
            with self._lock:
                free = next((slot for slot, row in enumerate(self._slots) if row is None), None)
                if free is None or not self._queue:
                    return
                row = self._slots[free] = self._queue.popleft()
            self._program.enter(free, row.ticket.request, row.ticket.words, row.index)

    def _tell_of(self, slot: int, row: _Row, finite: bool) -> None:
        """What a step of a row has brought. A ticket that is over has left its slot already, and nobody hears of it."""
        ticket, row.done = row.ticket, row.done + 1
        if ticket.over:
            return
        if not finite:
            reason = f"picture {row.index} is not finite after step {row.done}: ask for less guidance, or more steps"
            self._fail(ticket, reason, NOT_FINITE)
        elif row.to_come == 0:
            picture = self._program.picture(slot)
            with self._lock:
                if ticket.over:
                    return
                self._slots[slot] = None
                self.totals.pictures += 1
                ticket.left -= 1
                ticket.over = ticket.left == 0
            ticket.tell(Finished(row.index, picture))
        elif row.done in ticket.request.shown_after:
            ticket.tell(Preview(row.index, row.done, self._program.picture(slot)))

    def _fail(self, ticket: Ticket, reason: str, cause: str) -> None:
        with self._lock:
            if ticket.over:
                return
            self.totals.failed += 1
            self._end(ticket)
        ticket.tell(Failed(reason, cause))

    def _fail_all(self, reason: str) -> None:
        """Of an error of the program, after which no slot can be trusted. What waits is drawn later."""
        with self._lock:
            tickets = list(dict.fromkeys(row.ticket for row in self._slots if row is not None))
        for ticket in tickets:
            self._fail(ticket, reason, BROKEN)
        self._program.restart()

    def _end(self, ticket: Ticket) -> None:
        """The lock is held."""
        ticket.over = True
        self._queue = deque(row for row in self._queue if row.ticket is not ticket)
        self._slots = [None if row is not None and row.ticket is ticket else row for row in self._slots]

    def _count(self, rows: int, seconds: float) -> None:
        totals = self.totals
        totals.turns, totals.rows, totals.spent = totals.turns + 1, totals.rows + rows, totals.spent + seconds
        self._turn_seconds = seconds if totals.turns == 1 else (1 - RECENT) * self._turn_seconds + RECENT * seconds

    def _seconds_of_all(self) -> int:
        """Until the slots are free of all that is here, at least 1. The lock is held."""
        steps = sum(row.to_come for row in (*self._slots, *self._queue) if row is not None)
        return max(1, min(LONGEST_WAIT, math.ceil(steps / len(self._slots) * self._turn_seconds)))
