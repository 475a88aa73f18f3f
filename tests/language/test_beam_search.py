"""With as many beams as there are texts the search is exhaustive, and the cache follows the beams."""

import itertools

import numpy as np
import pytest
import scipy.special

from gendiff import language
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers

CHAIN, NEW = rig.markov(3), 3
search = quickly(
    lambda penalty, beams: language.beam_search(
        CHAIN, rig.lengths_only(2), np.array([[1, 2], [1, -1]]), beams=beams, max_tokens=NEW, stop=(0,), penalty=penalty
    ),
    static_argnames="beams",
)

FAR = 8
narrow = quickly(
    lambda table, penalty: language.beam_search(
        rig.Markov(table),
        rig.lengths_only(2),
        np.array([[2], [1]]),
        beams=2,
        max_tokens=FAR,
        stop=(0,),
        penalty=penalty,
    )
)


def every_text(last, penalty):
    """Score and log-probability of each text that a stop ends, or that has three tokens."""
    steps = np.asarray(scipy.special.log_softmax(CHAIN.table, 1), np.float64)
    texts = {}
    for text in itertools.product(range(3), repeat=NEW):
        text = text[: text.index(0) + 1] if 0 in text else text
        chain = (last, *text)
        log_prob = sum(steps[chain[i], chain[i + 1]] for i in range(len(text)))
        texts[text] = (log_prob / ((5 + len(text)) / 6) ** penalty, log_prob)
    return texts


@table("penalty", [0.0, 1.5])
def test_as_many_beams_as_texts_find_all_of_them_in_order(penalty):
    result = rig.on_host(search(penalty, beams=27))
    for row, last in enumerate((2, 1)):
        expected = every_text(last, penalty)
        assert np.isfinite(result.scores[row]).sum() == len(expected)
        beams = {}  # some texts are exactly as likely as others, so their order is free
        for beam in range(len(expected)):
            text = tuple(result.tokens[row, beam, : result.length[row, beam]].tolist())
            beams[text] = (result.scores[row, beam], result.log_probs[row, beam])
            assert result.finished[row, beam] == (text[-1] == 0)
        assert beams.keys() == expected.keys() and (np.diff(result.scores[row, : len(expected)]) <= 0).all()
        np.testing.assert_allclose([beams[text] for text in expected], list(expected.values()), rtol=1e-5)


@table("penalty", [0.0, 0.7, 3.0])
def test_a_narrow_search_stops_no_earlier_than_its_beams_can_still_win(penalty):
    """Beside a search that always runs to the last token: what a step leaves behind is all that is lost."""
    for seed in range(6):
        table = rig.markov(3, seed).table
        result = rig.on_host(narrow(table, np.float32(penalty)))
        for row, last in enumerate((2, 1)):
            np.testing.assert_allclose(result.scores[row], narrow_by_hand(table, last, penalty), rtol=1e-5)


def narrow_by_hand(table, last, penalty):
    """The scores of the best two texts behind a token. The texts are left out: one with its transitions in another
    order is as likely.
    """
    steps = scipy.special.log_softmax(np.asarray(table, np.float64), 1)
    growing, ended = {(): 0.0}, {}
    for _ in range(FAR):
        longer = {
            (*text, token): value + steps[(last, *text)[-1], token]
            for text, value in growing.items()
            for token in range(3)
        }
        best = sorted(longer, key=longer.get, reverse=True)
        growing = {text: longer[text] for text in [text for text in best if text[-1] != 0][:2]}
        ended |= {text: longer[text] for text in [text for text in best if text[-1] == 0][:2]}
    return sorted(
        (value / ((5 + len(text)) / 6) ** penalty for text, value in (ended | growing).items()), reverse=True
    )[:2]


def test_the_cache_follows_the_beams():
    """Of a transformer, where each beam's keys are those of its own text, scores are those of the texts."""
    prompt = rig.padded([[3, 1, 4], [5]], 3)

    @quickly
    def run(prompt):
        held = language.cache.full(rig.NETWORK, 2, 8)
        return language.beam_search(rig.MODEL, held, prompt, beams=3, max_tokens=4, chunk=2)

    result = rig.on_host(run(prompt))
    for row, length in enumerate((3, 1)):
        texts = [
            [*prompt[row, :length], *tokens[:count]]
            for tokens, count in zip(result.tokens[row], result.length[row], strict=True)
        ]
        assert len({tuple(map(int, text)) for text in texts}) == 3
        log_probs = rig.log_probs(texts)
        np.testing.assert_allclose([each[length - 1 :].sum() for each in log_probs], result.log_probs[row], rtol=1e-5)
        assert (np.diff(result.scores[row]) <= 0).all()


def test_one_beam_without_stops_is_greedy():
    result = quickly(lambda: language.beam_search(CHAIN, rig.lengths_only(1), np.array([[2]]), beams=1, max_tokens=5))()
    text = [2]
    for _ in range(5):
        text.append(int(np.argmax(CHAIN.table[text[-1]])))
    np.testing.assert_array_equal(np.asarray(result.tokens)[0, 0], text[1:])


test_what_does_not_fit_is_refused = refusals(
    (
        lambda: language.beam_search(CHAIN, rig.lengths_only(1, 4), np.array([[1]]), beams=2, max_tokens=4),
        "need room for 5",
    ),
    (lambda: language.beam_search(CHAIN, rig.lengths_only(1), np.array([[1]]), beams=0, max_tokens=4), "beams = 0"),
    (
        lambda: language.beam_search(CHAIN, rig.lengths_only(1), np.array([[1]]), beams=1, max_tokens=4, penalty=-1.0),
        "penalty = -1",
    ),
)
