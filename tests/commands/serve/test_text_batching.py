"""Prompts are read and replies are written together, each to its own end; what nobody waits for makes room."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.commands.serve import text_batching
from gendiff.commands.serve.request_scheduler import BROKEN, STOPPED, Failed, Full
from gendiff.commands.serve.text_batching import LENGTH, STOP, Ended, TextBatcher
from gendiff.language import drafts, guess_policy
from gendiff.language.processors import Context
from tests.commands.serve.fake_tokens import END, FakeTokens, chat_model, reply, text_request
from tests.tables import table

GUESSES = (0, 7)


def rig(room=8, **options):
    """(batcher, program, submit). submit(*lengths of prompts, **request) -> (ticket, its events)."""
    program, clients = FakeTokens(**options), itertools.count()
    batcher = TextBatcher(program, chat_model().tokenizer.pieces, [END], room, program.clock)

    def submit(*lengths, client=None, **request):
        events, prompts = [], [np.arange(length, dtype=np.int32) for length in lengths]
        name = str(next(clients)) if client is None else client
        return batcher.submit(text_request(**request), prompts, events.append, name), events

    return batcher, program, submit


def turns(batcher):
    """All turns until nothing is left to do."""
    while batcher.turn():
        pass


def text(events, index=0):
    return "".join(event.part.text for event in events if event.index == index)


@table("guesses", GUESSES)
def test_replies_to_prompts_of_unequal_lengths_are_written_together_and_each_ends_at_its_own(guesses):
    batcher, program, submit = rig(together=3, guesses=guesses)
    submitted = [(seed, *submit(length, seed=seed)) for seed, length in ((1, 1), (2, 30), (3, 5), (4, 2))]
    turns(batcher)
    for seed, ticket, events in submitted:
        assert ticket.over and text(events) == reply(seed, 0)
        assert isinstance(events[-1], Ended) and events[-1].reason == STOP
        assert events[-1].tokens == len(reply(seed, 0).encode()) + 1
    assert max(program.turns) == 3 and batcher.totals.results == 4 and batcher.active == batcher.waiting == 0
    assert program.slots == [[], [], []]
    totals = batcher.totals
    assert (totals.guessed > totals.accepted > 0) if guesses else (totals.guessed == totals.accepted == 0)
    assert totals.rows + totals.accepted >= sum(events[-1].tokens for _, _, events in submitted)


def test_several_prompts_with_several_replies_each_are_told_apart():
    batcher, _, submit = rig(together=4)
    _, events = submit(3, 9, seed=5, n=2)
    turns(batcher)
    assert [text(events, index) for index in range(4)] == [reply(5, index) for index in range(4)]


@table("guesses", GUESSES)
@table(
    ("options", "result", "reason", "tokens"),
    [
        ({"max_tokens": 7}, "reply 0", LENGTH, 7),
        ({"stop": (" of 1",)}, "reply 0", STOP, 12),
        ({"stop": ("never", "ä")}, "reply 0 of 1: ", STOP, 16),
        ({"stop": (" of 1",), "max_tokens": 11}, "reply 0 of ", LENGTH, 11),
        ({"max_tokens": 50}, (reply(1, 0) * 2).encode()[:50].decode(), LENGTH, 50),
    ],
)
def test_a_reply_ends_at_its_length_or_before_a_stop_string_and_makes_room(options, result, reason, tokens, guesses):
    batcher, program, submit = rig(together=1, guesses=guesses)
    _, events = submit(4, seed=1, **options)
    _, after = submit(4, seed=2)
    turns(batcher)
    assert (text(events), events[-1].reason, events[-1].tokens) == (result, reason, tokens)
    steps = tokens + len(reply(2, 0).encode()) + 1
    assert text(after) == reply(2, 0) and (len(program.turns) < steps if guesses else len(program.turns) == steps)


def test_no_reply_begins_for_whose_longest_form_the_cache_has_no_room_and_none_overtakes_it():
    batcher, program, submit = rig(together=4, pages=10, page=4)
    for seed in range(6):
        submit(12, seed=seed, max_tokens=12)
    while batcher.turn():
        assert batcher.active <= 1 + (10 - 6) // 6
    assert batcher.totals.results == 6 and max(program.turns) == 1


def test_a_prompt_is_read_between_the_tokens_of_others():
    batcher, program, submit = rig(together=2)
    _, first = submit(1, seed=1)
    batcher.turn()
    submit(41, seed=2)
    before = len(program.turns)
    for _ in range(10):
        batcher.turn()
    assert program.turns[before:] == [1] * 9 + [2] and len(first) == 11


@pytest.mark.fault("serve: a client leaves before its pictures are drawn")
def test_who_leaves_frees_a_slot_for_the_next_and_hears_no_more():
    batcher, program, submit = rig(together=1)
    ticket, events = submit(4, seed=1)
    _, waiting = submit(4, seed=2)
    for _ in range(3):
        batcher.turn()
    heard = len(events)
    assert batcher.cancel(ticket) and not batcher.cancel(ticket)
    turns(batcher)
    assert len(events) == heard and text(waiting) == reply(2, 0) and batcher.totals.cancelled == 1
    assert program.turns == [1] * (3 + len(reply(2, 0).encode()) + 1)


@table("method", ["read", "step"])
def test_who_leaves_alone_while_the_program_runs_stops_nothing(monkeypatch, method):
    batcher, program, submit = rig(together=1)
    ticket, _ = submit(6, seed=1)
    called = getattr(program, method)
    monkeypatch.setattr(program, method, lambda *inputs: (batcher.cancel(ticket), called(*inputs))[1])
    turns(batcher)
    assert batcher.totals.cancelled == 1 and program.slots == [[]] and batcher.active == 0


@pytest.mark.fault("serve: the program fails")
def test_after_an_error_what_was_begun_has_failed_and_what_waits_is_written():
    batcher, program, submit = rig(together=2, broken=(1,))
    lost, beside, waiting = (submit(2, seed=seed)[1] for seed in (1, 2, 3))
    with pytest.raises(RuntimeError):
        turns(batcher)
    turns(batcher)
    for events in (lost, beside):
        assert isinstance(events[-1], Failed) and events[-1].cause == BROKEN and "no memory" in events[-1].reason
    assert text(waiting) == reply(3, 0) and batcher.totals.failed == 2


def test_a_token_that_is_no_number_fails_its_own_request():
    batcher, program, submit = rig(together=2, spoilt=(1,))
    spoilt, beside = (submit(2, seed=seed)[1] for seed in (1, 2))
    turns(batcher)
    assert isinstance(spoilt[-1], Failed) and "not finite" in spoilt[-1].reason and text(beside) == reply(2, 0)
    assert program.slots == [[], []]


def test_a_queue_that_is_full_and_one_that_is_closed_refuse():
    batcher, program, submit = rig(together=1, room=2)
    _, events = submit(1, seed=1, n=2)
    with pytest.raises(Full):
        submit(1, seed=1, n=2)
    batcher.close("the server is stopping")
    turns(batcher)
    assert [event.cause for event in events] == [STOPPED]


def test_guesses_are_those_of_prompt_lookup():
    draft, rng, guessed = drafts.prompt_lookup(text_batching.MATCH), np.random.default_rng(0), 0
    texts, lengths = rng.integers(0, 2, (64, 24), dtype=np.int32), rng.integers(1, 17, 64, dtype=np.int32)
    context = Context(texts, lengths, lengths)
    expected = draft.propose(jax.random.split(jax.random.key(0), 64), (), context, jnp.full(64, 7), 7, None).tokens
    for row, length, theirs in zip(texts, lengths, np.asarray(expected), strict=True):
        ours = text_batching.looked_up(row[:length], 7)
        assert ours == tuple(theirs[theirs >= 0].tolist())
        guessed += len(ours)
    assert guessed > 60


@table(("guesses", "max_tokens", "expected"), [(7, 36, 7), (7, 39, 9), (1, 100, 0)])
def test_guesses_pause_where_they_do_not_pay_and_one_that_cannot_pay_is_not_made(guesses, max_tokens, expected):
    known = guess_policy.policy()
    assert (text_batching.JUDGING, text_batching.PAUSE) == (float(known.judging), int(known.pause))
    batcher, program, _ = rig(together=1, guesses=guesses)
    misleading = np.frombuffer(b"rep" + bytes(range(16)), np.uint8).astype(np.int32)
    batcher.submit(text_request(seed=1, max_tokens=max_tokens), [misleading], [].append)
    turns(batcher)
    assert batcher.totals.guessed == expected
