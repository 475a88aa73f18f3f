"""Canaries stand in the text as often as they say, and likelihoods and means are those of a count by hand."""

import jax.numpy as jnp
import numpy as np
import scipy.special

from experiments.provenance import memorise_text

FULL = memorise_text.EXPERIMENT.presets["full"]


def test_each_canary_stands_as_often_as_it_says_in_rows_of_its_own_and_the_others_nowhere():
    texts = memorise_text.corpus(FULL, 3)
    windows = np.lib.stride_tricks.sliding_window_view(texts.rows, FULL.letters, 1)
    rows = [np.flatnonzero((windows == canary).all(2).any(1)) for canary in texts.seen]
    np.testing.assert_array_equal([len(each) for each in rows], texts.copies)
    assert len(np.unique(np.concatenate(rows))) == FULL.canaries * sum(FULL.copies)
    lines = "\n".join(bytes(row[row < 256].astype(np.uint8)).decode("latin-1") for row in texts.rows)
    assert not any(
        bytes(other.astype(np.uint8)).decode() in lines for other in np.concatenate([texts.unseen, texts.candidates])
    )
    assert sorted(set(texts.copies)) == list(FULL.copies) and texts.rows.shape == (FULL.rows, FULL.length + 1)


def test_the_text_around_canaries_is_that_of_the_manual():
    texts = memorise_text.corpus(FULL, 3)
    plain = {bytes(row.astype(np.uint8)) for row in texts.rows[: FULL.rows]}
    manual = {bytes(row.astype(np.uint8)) for row in memorise_text.manual(FULL)}
    assert len(plain & manual) == FULL.rows - FULL.canaries * sum(FULL.copies)


def test_a_likelihood_is_the_sum_over_all_letters_but_the_first():
    table, tokens = np.random.default_rng(0).normal(size=(5, 5)), np.random.default_rng(1).integers(0, 5, (3, 6))
    known = scipy.special.log_softmax(table, 1)[tokens[:, :-1], tokens[:, 1:]].sum(1)
    np.testing.assert_allclose(
        memorise_text.log_likelihood(lambda tokens_in: jnp.asarray(table)[tokens_in], tokens), known, rtol=1e-5
    )
