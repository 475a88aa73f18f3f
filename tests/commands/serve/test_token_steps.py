"""A reply is a function of model, prompt, seed and settings to the last bit, whatever is written beside it, and is the
one that `Chat` writes alone.
"""

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.commands.chat import models, steps
from gendiff.commands.serve import text_batching, token_steps
from gendiff.commands.serve.text_batching import Ended, TextBatcher
from gendiff.commands.serve.token_steps import TokenSteps
from tests.commands.serve.fake_tokens import END, text_request
from tests.quickly import quickly
from tests.tables import table
from tests.traced import Traced

SETTINGS = ({"temperature": 0.0}, {}, {"temperature": 0.7, "top_p": 0.8}, {"temperature": 1.5})
LENGTHS = (3, 70, 250, 1, 100, 128, 300, 65)
LONGEST = 14
ALIKE = (1, 4, 7)
"""Prompts that `Chat` pads to one length."""


@pytest.fixture(scope="module")
def chat():
    return models.tiny(context=400)


def warm(chat, guesses):
    """Programs; `traces` counts what is compiled."""
    compiled = []

    def jit(function, **options):
        compiled.append(Traced(function, quickly, **options))
        return compiled[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "jit", jit)
        programs = TokenSteps(chat, 8, 400, 8 * 400, guesses)
    programs.warm()
    programs.traces = lambda: [each.traces for each in compiled]
    return programs


@pytest.fixture(scope="module")
def programs(chat):
    return warm(chat, 0)


@pytest.fixture(scope="module")
def guessing(chat):
    """Those that judge guesses, too."""
    return warm(chat, 7)


def prompt(number):
    return np.random.default_rng(number).integers(0, 256, LENGTHS[number], dtype=np.int32)


def written(chat, programs, numbers, leave=()):
    """The scores of the replies to some prompts, each submitted by its own client; some of them leave after a while.
    `programs.totals` has the counts.
    """
    batcher, events, tickets = TextBatcher(programs, chat.tokenizer.pieces, [END], 64), {}, {}
    for number in numbers:
        request = text_request(number, max_tokens=LONGEST, scored=True, top=3, **SETTINGS[number % len(SETTINGS)])
        events[number] = []
        tickets[number] = batcher.submit(request, [prompt(number)], events[number].append, str(number))
    for turn in range(1000):
        if turn == 6:
            for number in leave:
                batcher.cancel(tickets[number])
        if not batcher.turn():
            break
    programs.totals = batcher.totals
    assert int(programs._cache.available) == programs.pages, "pages are lost"
    assert all(isinstance(events[number][-1], Ended) for number in numbers if number not in leave)
    return {number: [score for each in events[number] for score in each.part.scores] for number in numbers}


def test_a_reply_alone_is_that_beside_seven_others_to_the_last_bit(chat, programs):
    alone = {number: written(chat, programs, [number])[number] for number in range(8)}
    assert written(chat, programs, range(8)) == alone
    again = written(chat, programs, (7, 3, 1, 0, 5), leave=(3, 7))
    assert all(again[number] == alone[number] for number in (0, 1, 5))


def test_a_loop_over_blocks_writes_the_same_tokens_and_alone_as_beside_others(chat, programs):
    loop = models.scanned(chat)
    stacked = warm(loop, 0)
    replies, expected = written(loop, stacked, (0, 1, 2)), written(chat, programs, (0, 1, 2))
    for number, scores in replies.items():
        assert [score.token for score in scores] == [score.token for score in expected[number]]
    assert written(loop, stacked, (1,))[1] == replies[1]


def test_replies_are_those_of_chat_with_their_log_probabilities(chat, programs):
    replies = written(chat, programs, ALIKE)
    texts = np.zeros((len(ALIKE), 128 + LONGEST), np.int32)
    for row, number in zip(texts, ALIKE, strict=True):
        settings = {"temperature": 1.0, "top_p": 1.0} | SETTINGS[number % len(SETTINGS)]
        about = settings["temperature"], settings["top_p"], LONGEST, 0, None
        tokens = chat._reply(jax.random.key(number), prompt(number), None, *about).tokens.tolist()
        assert [score.token for score in replies[number]] == [token for token in tokens if token != END]
        row[: LENGTHS[number] + len(tokens)] = [*prompt(number), *tokens]
    logits = quickly(lambda tokens: jax.nn.log_softmax(networks.pure(chat.network)(chat.params, tokens)[0]))(texts)
    for rows, number in zip(np.asarray(logits), ALIKE, strict=True):
        for score, row in zip(replies[number], rows[LENGTHS[number] - 1 :], strict=False):
            likeliest = np.argsort(-row)[:3]
            assert [token for token, _ in score.top] == likeliest.tolist()
            values = [score.log_prob, *(value for _, value in score.top)]
            np.testing.assert_allclose(values, row[[score.token, *likeliest]], atol=1e-5)


def test_guesses_change_no_reply_and_no_reply_beside_another(chat, programs, guessing, monkeypatch):
    plain = written(chat, programs, range(8))
    known = [[*prompt(number), *(score.token for score in plain[number])] for number in range(8)]

    def guesses(ids, most):
        """What will come, with a wrong token in it at every third length."""
        text = next(text for text in known if text[: len(ids)] == ids.tolist())
        spoilt = [(token + (len(ids) % 3 == at - 1)) % END for at, token in enumerate(text[len(ids) :][:most])]
        return tuple(spoilt)

    monkeypatch.setattr(text_batching, "looked_up", guesses)
    guessed = written(chat, guessing, range(8))
    totals = guessing.totals
    assert (
        totals.rows + totals.accepted == programs.totals.rows and totals.guessed > totals.accepted > 4 * totals.results
    )
    assert {number: written(chat, guessing, [number])[number] for number in range(8)} == guessed
    for number, scores in guessed.items():
        assert [score.token for score in scores] == [score.token for score in plain[number]]
        for ours, alone in zip(scores, plain[number], strict=True):
            (tokens, values), (alone_tokens, alone_values) = (zip(*each.top, strict=True) for each in (ours, alone))
            assert tokens == alone_tokens
            np.testing.assert_allclose([ours.log_prob, *values], [alone.log_prob, *alone_values], atol=1e-5)


def test_nothing_is_compiled_once_it_is_warm(chat, programs, guessing):
    for each, traces in ((programs, [2, 2, 1, 1]), (guessing, [2, 4, 1, 2])):  # two widths, with guesses and without
        assert each.traces() == traces
        written(chat, each, (0, 6))
        assert each.traces() == traces


@table(
    ("context", "expected"),
    [(2, (16,)), (256, (256,)), (257, (256, 272)), (4096, (256, 1024, 4096)), (8192, (256, 1024, 4096, 8192))],
)
def test_texts_are_read_at_few_widths_up_to_the_context(context, expected):
    assert token_steps.widths(context) == expected
