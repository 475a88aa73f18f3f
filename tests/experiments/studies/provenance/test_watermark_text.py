"""What the watermark-text experiment measures, on answers that are known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments.provenance import watermark_text
from experiments.provenance.watermark_text import attacks, marks, null, texts
from experiments.provenance.watermark_text.marks import GREEN, GUMBEL, KINDS, TOURNAMENT
from gendiff import language
from gendiff.commands.chat import steps
from gendiff.core import records
from gendiff.language import cache
from gendiff.language.processors import Context
from gendiff.provenance import text_detection, text_watermarks
from tests.tables import table

FULL = watermark_text.EXPERIMENT.presets["full"]
RNG = np.random.default_rng(0)


@records.record
class Flat:
    """A language model to which all tokens are equally likely."""

    vocabulary: int = records.static()

    def __call__(self, tokens, held, every=False):
        shape = tokens.shape if every else tokens.shape[:1]
        return jnp.zeros((*shape, self.vocabulary)), held.advanced((), jnp.sum(tokens >= 0, 1, dtype=jnp.int32))


def expected(gamma, delta, count):
    """The mean of z of so many choices."""
    excess = text_watermarks.green_share(gamma, delta) - gamma
    return float(excess * np.sqrt(count / (gamma * (1 - gamma))))


@functools.lru_cache  # one object, so that all marks share a compiled program
def writer(vocabulary, texts, tokens):
    """(key, mark) -> so many texts of so many tokens."""

    def write(key, mark):
        held = cache.Cache((), jnp.zeros(texts, jnp.int32), tokens + 1)
        prompt, index = jnp.zeros((texts, 1), jnp.int32), jnp.arange(texts)
        return language.generate(key, Flat(vocabulary), held, prompt, index, max_tokens=tokens, processor=mark).tokens

    return steps.jit(write)


@table("kind", KINDS)
def test_randomised_p_values_of_random_tokens_are_uniform_and_those_of_another_law_are_not(kind):
    """The score of a text is turned back into hits: at chance 1 the p-value is that of detection, at 0 the one of a
    higher score.
    """
    mark = marks.build(FULL, kind, 5, 64)
    detected = text_detection.detect(mark, RNG.integers(0, 64, (400, 60)))
    rows = list(zip(detected.z, detected.scored, detected.p, RNG.uniform(size=400), strict=True))
    for z, scored, p, _ in rows[:20]:
        assert null.randomised(mark, z, scored, p, 1.0) == pytest.approx(p, rel=1e-9)
        assert null.randomised(mark, z, scored, p, 0.0) <= p
    uniform = np.array([null.randomised(mark, z, scored, p, chance) for z, scored, p, chance in rows])
    assert null.Null(detected.z, uniform).law > 0.001
    assert null.Null(detected.z, uniform**1.5).law < 1e-6


def test_each_text_has_a_key_of_its_own_and_counting_repeats_spreads_the_scores():
    config = dataclasses.replace(FULL, null_texts=100)
    rows = null.pieces(null.in_bytes(), 200, 100)
    right, wrong = null.measured(config, GREEN, rows, null.BYTES, 0).z, null.with_repeats(config, rows, null.BYTES, 0)
    assert len(set(marks.keys(100, 0, 0, null.BYTES))) == 100
    assert 0.8 < right.std() < 1.2 < wrong.std()


def test_pieces_are_the_text_in_order_and_come_again():
    np.testing.assert_array_equal(null.pieces(np.arange(11), 4, 3), [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]])


def test_texts_from_flat_logits_score_as_the_formula_says():
    """BEYOND the formula: at gamma 0.25, delta 2 a text of 200 choices has a mean z of 15.1, of 25 one of 5.3."""
    assert expected(0.25, 2.0, 200) == pytest.approx(15.1, abs=0.05) and expected(0.25, 2.0, 25) == pytest.approx(
        5.3, abs=0.05
    )
    for gamma, delta in ((0.25, 1.0), (0.25, 2.0), (0.5, 2.0)):
        mark = text_watermarks.green_list(7, 256, gamma=gamma, delta=delta)
        tokens = np.asarray(writer(256, 60, 51)(jax.random.key(0), mark))
        for length in (25, 50):  # the first token only chooses with the next one
            z = text_detection.detect(mark, tokens[:, : length + 1]).z
            assert z.mean() / expected(gamma, delta, length) == pytest.approx(1.0, abs=0.1)


def test_changes_touch_the_share_of_tokens_that_they_say():
    tokens = RNG.integers(0, 1000, (50, 200))
    replaced, deleted, cut = (attacks.changed(way, tokens, 0.3, 1000, np.random.default_rng(1)) for way in attacks.WAYS)
    assert np.mean(replaced != tokens) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(cut, tokens[:, :140])
    count = (deleted >= 0).sum(1)
    assert count.mean() == pytest.approx(140, abs=3) and (deleted[:, :100] >= 0).all()
    for before, after, left in zip(tokens, deleted, count, strict=True):
        assert (after[left:] == -1).all()
        walk = iter(before.tolist())
        assert all(token in walk for token in after[:left].tolist())  # in their order


def test_changes_leave_what_the_formula_says_of_a_mark():
    """Of texts in which nearly every token is green."""
    mark = marks.build(FULL, GREEN, 5, 256, delta=9.0)
    tokens = np.asarray(writer(256, 60, 51)(jax.random.key(0), mark))
    score = text_detection.detect(mark, tokens).z.mean()
    for way in attacks.WAYS:
        changed = attacks.changed(way, tokens, 0.3, 256, np.random.default_rng(1))
        assert text_detection.detect(mark, changed).z.mean() / score == pytest.approx(attacks.left(way, 0.3), rel=0.08)


def test_spans_are_spread_evenly_and_what_is_kept_is_forced():
    for share in (0.25, 0.5):
        forced = attacks.spans(200, share, 8)
        assert forced[0] and 1 - forced.mean() == pytest.approx(share, abs=0.05)
    tokens, logits = np.array([[3, 1], [0, 2]]), jnp.asarray(RNG.normal(size=(2, 4)), jnp.float32)
    anew = attacks.Anew(tokens, np.array([True, False]))
    first, second = (np.asarray(anew(logits, Context(None, None, jnp.full(2, at)))) for at in range(2))
    np.testing.assert_array_equal(first.argmax(1), [3, 0])
    assert np.isfinite(first).sum() == 2
    np.testing.assert_array_equal(second, logits)


def test_parts_have_names_of_their_own_paraphrases_follow_and_share_the_key_of_what_they_paraphrase():
    all_parts = texts.parts(FULL)
    assert len({part.name for part in all_parts}) == len(all_parts)
    for number, part in enumerate(all_parts):
        if part.anew:
            assert part.original in all_parts[:number] and part.original.key == part.key
    by_kind = {kind: [part for part in all_parts if part.kind == kind] for kind in (GREEN, GUMBEL, TOURNAMENT)}
    assert len(
        {part.key for part in by_kind[GREEN] if part.delta == FULL.delta and not part.anew}
    ) == FULL.texts // FULL.together * len(FULL.seeds)


def test_a_rank_correlation_of_what_never_changes_is_none():
    assert watermark_text.spearman(np.ones(5), np.arange(5.0)) == 0.0
    assert watermark_text.spearman(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1.0)
    assert scipy.stats.spearmanr([1, 2, 3], [3, 2, 1]).statistic == watermark_text.spearman(
        np.array([1, 2, 3]), np.array([3, 2, 1])
    )
