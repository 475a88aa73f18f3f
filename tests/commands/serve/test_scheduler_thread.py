"""The thread that draws: it sleeps without missing a request, forgives single errors, and gives up where nothing can be
drawn.
"""

import io
import sys
import threading
import time

from gendiff.commands.serve import scheduler_thread
from gendiff.commands.serve.batching import Batcher, Finished
from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.request_scheduler import BROKEN, STOPPED, Failed
from gendiff.commands.serve.scheduler_thread import SchedulerThread
from tests.commands.serve.fake_program import FakeProgram


def waited(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_an_order_that_comes_while_a_turn_finds_no_work_is_drawn_at_once():
    class Late(Batcher):
        """Its first turn sees an empty queue, and ends after a request has come."""

        turns = 0

        def turn(self):
            busy, self.turns = super().turn(), self.turns + 1
            if self.turns == 1:
                drawing.submit(ImageRequest("a circle", steps=1), None, events.append)
            return busy

    events = []
    drawing = SchedulerThread(Late(FakeProgram(1), 8))
    with drawing:
        waited(lambda: events)
    assert isinstance(events[0], Finished)


def test_errors_that_are_not_in_a_row_are_forgiven(capfd):
    batcher, events = Batcher(FakeProgram(1, broken=(1,)), 20), []
    for number in range(4 * scheduler_thread.MOST_ERRORS):
        batcher.submit(ImageRequest("a circle", steps=1, seed=number % 2), None, events.append)
    with SchedulerThread(batcher) as drawing:
        waited(lambda: len(events) == 4 * scheduler_thread.MOST_ERRORS)
        assert drawing.healthy
    assert [event.cause if isinstance(event, Failed) else "drawn" for event in events] == ["drawn", BROKEN] * (
        2 * scheduler_thread.MOST_ERRORS
    )
    capfd.readouterr()


def test_a_program_that_only_fails_ends_the_drawing_and_all_that_wait_are_told(capfd):
    batcher, events = Batcher(FakeProgram(1, broken=(1,)), 20), []
    for _ in range(5):
        batcher.submit(ImageRequest("a circle", seed=1), None, events.append)
    with SchedulerThread(batcher) as drawing:
        waited(lambda: not drawing.healthy)
    assert [event.cause for event in events] == [BROKEN] * scheduler_thread.MOST_ERRORS + [STOPPED] * 2
    assert events[-1].reason == "the server cannot answer any more: start it again"
    assert capfd.readouterr().err.count("RuntimeError: no memory is left") == scheduler_thread.MOST_ERRORS


def test_an_error_is_forgiven_where_nobody_reads_the_log(monkeypatch):
    batcher, events = Batcher(FakeProgram(1, broken=(1,)), 20), []
    with SchedulerThread(batcher) as drawing, io.StringIO() as log:
        log.close()
        monkeypatch.setattr(sys, "stderr", log)
        for seed in (1, 0):
            drawing.submit(ImageRequest("a circle", steps=1, seed=seed), None, events.append)
        waited(lambda: len(events) == 2)
    assert [type(event) for event in events] == [Failed, Finished]


def test_who_waits_at_the_end_is_told_that_the_server_stops():
    program, events = FakeProgram(1), []
    program.open.clear()
    drawing = SchedulerThread(Batcher(program, 8))
    with drawing:
        for _ in range(2):
            drawing.submit(ImageRequest("a circle", steps=100), None, events.append)
        waited(lambda: drawing.batcher.active)
        threading.Timer(0.05, program.open.set).start()
    assert events == [Failed("the server is stopping", STOPPED)] * 2 and not drawing.healthy
