"""Pictures at unequal steps are drawn together, each to its own end, and nobody waits for what nobody wants any
more.
"""

import itertools
import threading

import numpy as np
import pytest

from gendiff.commands.serve.batching import Batcher, Finished, Preview
from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.request_scheduler import BROKEN, NOT_FINITE, STOPPED, Closed, Failed, Full
from tests.commands.serve.fake_program import Clock, FakeProgram, expected
from tests.tables import table


def rig(together=3, room=8, **options):
    """(batcher, program, submit). submit(**request) -> (ticket, events, to which each of its events is added). Without
    client= each request is that of another one.
    """
    clock, clients = Clock(), itertools.count()
    program = FakeProgram(together, clock, **options)
    batcher = Batcher(program, room, clock)

    def submit(client=None, **request):
        events, name = [], str(next(clients)) if client is None else client
        return batcher.submit(ImageRequest("a cat", **request), None, events.append, name), events

    return batcher, program, submit


def turns(batcher):
    """All turns until nothing is left to do; how many there were."""
    count = 0
    while batcher.turn():
        count += 1
    return count


def test_orders_of_unequal_steps_share_turns_and_each_ends_at_its_own():
    batcher, program, submit = rig()
    short, long, other = (submit(steps=steps, seed=seed) for steps, seed in ((2, 1), (5, 2), (3, 3)))
    assert turns(batcher) == 5 and batcher.totals.rows == 2 + 5 + 3 and batcher.totals.results == 3
    for (ticket, events), after in ((short, 2), (long, 5), (other, 3)):
        (event,) = events
        assert isinstance(event, Finished) and ticket.over
        np.testing.assert_array_equal(event.picture, expected(ticket.request, 0, after))
    assert program.turns == [3, 3, 2, 1, 1]


def test_a_turn_has_no_more_pictures_than_are_compiled_for_and_more_as_soon_as_they_are():
    batcher, program, submit = rig(together=4)
    program.ready = 1
    _, events = submit(n=6, steps=2, seed=1)
    assert batcher.turn() and program.turns == [1]
    program.ready = 2
    assert batcher.turn() and batcher.turn()
    program.ready = 4
    turns(batcher)
    assert program.turns == [1, 2, 2, 4, 3] and len(events) == 6


def test_a_picture_that_is_finished_makes_room_before_the_next_turn():
    batcher, program, submit = rig(together=2)
    _, first = submit(n=3, steps=2, seed=1)
    _, second = submit(steps=4, seed=2)
    assert turns(batcher) == 6
    assert [event.index for event in first] == [0, 1, 2] and len(second) == 1
    assert program.turns == [2, 2, 2, 2, 1, 1]


@table("client", ["the same", "another"])
@table("turns_before", [0, 1, 37])
def test_a_short_request_behind_a_long_one_waits_at_most_half_of_its_own_time(client, turns_before):
    """In evaluations of the network, of which it needs 8 alone."""
    batcher, program, submit = rig(together=8, room=64)
    long, _ = submit("the same", n=10, steps=100)
    for _ in range(turns_before):
        batcher.turn()
    before = sum(program.turns)
    short, events = submit(client, steps=8)
    while not short.over:
        batcher.turn()
    assert sum(program.turns) - before <= 1.5 * 8 and isinstance(events[0], Finished)
    turns(batcher)
    assert long.over and sum(program.turns) == 10 * 100 + 8


@table("client", ["the same", "another"])
def test_a_long_request_comes_first_once_later_ones_have_had_as_much_as_it_needs(client):
    batcher, program, submit = rig(together=8, room=64)
    long, _ = submit("the same", n=4, steps=50)
    while not long.over:
        short, _ = submit(client, steps=8)
        while not (short.over or long.over):
            batcher.turn()
    assert sum(program.turns) <= 2.25 * 4 * 50


def test_requests_of_like_length_fill_each_turn():
    batcher, program, submit = rig(together=8, room=64)
    for number in range(16):
        submit(steps=10 + 5 * (number % 5))
    turns(batcher)
    assert sum(program.turns) >= 6 * len(program.turns)


def test_a_long_request_goes_on_beside_a_short_one_where_that_costs_nothing():
    batcher, program, submit = rig(together=8, room=64, cost=lambda count: 1 + 0.05 * count)
    submit(n=10, steps=20)
    _, short = submit(steps=4)
    for _ in range(4):
        batcher.turn()
    assert len(short) == 1 and program.turns == [8] * 4


def test_a_client_of_many_requests_has_the_turns_of_one():
    batcher, program, submit = rig(together=1, room=20)
    for _ in range(8):
        submit("greedy", steps=20)
    for _ in range(5):
        batcher.turn()
    single, _ = submit("single", steps=20)
    while not single.over:
        batcher.turn()
    assert sum(program.turns) <= 5 + 2 * 20
    with pytest.raises(Full, match="7 of 16 places are taken, and this needs 10"):
        submit("greedy", n=10)
    submit("other", n=10)


def test_previews_come_at_their_steps_and_show_what_is_there_then():
    batcher, _, submit = rig()
    ticket, events = submit(steps=6, stream=True, previews=2)
    turns(batcher)
    assert [(type(event), getattr(event, "step", 6)) for event in events] == [(Preview, 2), (Preview, 4), (Finished, 6)]
    np.testing.assert_array_equal(events[1].picture, expected(ticket.request, 0, 4))


@pytest.mark.fault("serve: more requests than there is room for")
def test_an_order_that_finds_no_room_is_refused_whole_and_told_when_to_come_again():
    batcher, _, submit = rig(together=2, room=3)
    submit(n=2, steps=10, seed=1)
    batcher.turn()  # 2 seconds
    submit(n=2, steps=10, seed=2)
    with pytest.raises(Full, match="4 of 5 places are taken, and this needs 2: ask again in 38 s") as full:
        submit(n=2, steps=1)
    assert full.value.seconds == (9 + 9 + 10 + 10) / 2 * 2
    submit(n=1, steps=1)
    assert batcher.waiting == 3 and batcher.totals.full == 1 and batcher.totals.requests == 3
    assert turns(batcher) and batcher.totals.results == 5


def test_the_wait_is_told_by_the_mean_turn_of_late_and_never_below_a_second_or_above_ten_minutes():
    batcher, program, submit = rig(together=1, room=1, seconds=0.01)

    def seconds():
        with pytest.raises(Full) as full:
            submit(n=3)
        return full.value.seconds

    assert seconds() == 1
    submit(n=2, steps=100)
    batcher.turn()
    assert seconds() == 2  # 199 steps of 0.01 s
    program.seconds = 1.01
    batcher.turn()
    assert seconds() == 22  # 198 of 0.9 · 0.01 + 0.1 · 1.01 s
    program.seconds = 1000.0
    batcher.turn()
    assert seconds() == 600


def test_as_many_as_one_step_takes_are_room_too():
    batcher, _, submit = rig(together=2, room=1)
    submit(n=3)
    with pytest.raises(Full):
        submit()


@pytest.mark.fault("serve: a client leaves before its pictures are drawn")
def test_what_nobody_waits_for_is_not_drawn_and_not_told():
    batcher, program, submit = rig(together=2)
    gone, events = submit(n=4, steps=2, seed=1)
    _, others = submit(steps=3, seed=2)
    batcher.turn()
    assert (batcher.active, batcher.waiting) == (2, 3)
    assert batcher.cancel(gone) and not batcher.cancel(gone)
    assert (batcher.active, batcher.waiting) == (1, 0) and batcher.totals.cancelled == 1
    assert turns(batcher) == 2 and events == [] and len(others) == 1
    assert program.turns == [2, 1, 1]


@pytest.mark.fault("serve: a client leaves before its pictures are drawn")
@pytest.mark.parametrize("seed", [1, 2])
def test_who_leaves_while_a_step_is_computed_is_not_told_what_it_brought(seed):
    """Neither the preview nor that it is not finite."""
    batcher, program, submit = rig(together=2, spoilt=(1,))
    gone, events = submit(steps=4, stream=True, previews=3, seed=seed)
    _, others = submit(steps=4, seed=2)
    batcher.turn()
    events.clear()
    step = program.step

    def left(*rows):
        batcher.cancel(gone)
        return step(*rows)

    program.step = left
    assert turns(batcher) == 3 and events == [] and [type(event) for event in others] == [Finished]
    assert (batcher.totals.cancelled, batcher.totals.failed, batcher.totals.results) == (1, 0, 1)


def test_cancelling_what_is_finished_changes_nothing():
    batcher, _, submit = rig()
    ticket, _ = submit(steps=1)
    turns(batcher)
    assert not batcher.cancel(ticket) and batcher.totals.cancelled == 0 and batcher.totals.results == 1


@pytest.mark.fault("serve: pictures that are not finite")
def test_a_picture_that_is_not_finite_ends_its_order_alone():
    batcher, _, submit = rig(together=3, spoilt=(1,))
    _, bad = submit(n=2, steps=4, seed=1)
    _, good = submit(steps=4, seed=2)
    turns(batcher)
    (failed,) = bad
    assert (
        isinstance(failed, Failed)
        and failed.cause == NOT_FINITE
        and "picture 0 is not finite after step 2" in failed.reason
    )
    assert isinstance(good[0], Finished) and batcher.totals.failed == 1 and batcher.active == 0


@pytest.mark.fault("serve: the program fails")
def test_after_an_error_of_the_program_what_was_drawn_fails_and_what_waits_is_drawn():
    batcher, program, submit = rig(together=1, broken=(1,))
    _, bad = submit(steps=2, seed=1)
    _, later = submit(steps=2, seed=2)
    with pytest.raises(RuntimeError, match="no memory"):
        batcher.turn()
    assert bad == [Failed("drawing failed: no memory is left", BROKEN)]
    assert turns(batcher) == 2 and isinstance(later[0], Finished)


def test_a_closed_batcher_tells_all_that_wait_and_takes_no_more():
    batcher, _, submit = rig(together=1)
    waiting = [submit(seed=seed)[1] for seed in range(2)]
    batcher.turn()
    batcher.close("the server is stopping")
    assert waiting == [[Failed("the server is stopping", STOPPED)]] * 2 and not batcher.turn()
    with pytest.raises(Closed, match="stopping"):
        submit()


def test_orders_from_many_threads_end_once_each_whatever_is_cancelled_beside_them():
    batcher, _, submit = rig(together=3, room=1000, seconds=0.0)
    submitted, running = [], threading.Event()

    def give(seed):
        for number in range(20):
            ticket, events = submit(n=1 + number % 3, steps=1 + (seed + number) % 4, seed=seed)
            submitted.append((ticket, events))
            if number % 5 == 4:
                batcher.cancel(ticket)

    threads = [threading.Thread(target=give, args=(seed,)) for seed in range(4)]
    taking = threading.Thread(target=lambda: [batcher.turn() for _ in iter(lambda: running.is_set(), True)])
    taking.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.set()
    taking.join()
    turns(batcher)
    assert len(submitted) == 80 and batcher.active == batcher.waiting == 0
    for ticket, events in submitted:
        assert ticket.over and len(events) <= ticket.request.n
    complete = sum(len(events) == ticket.request.n for ticket, events in submitted)
    assert complete + batcher.totals.cancelled == 80 and batcher.totals.results == sum(
        len(events) for _, events in submitted
    )
