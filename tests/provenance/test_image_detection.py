"""P-values of image marks are uniform without the key and small with it; the published mistakes fail the same tests."""

import jax
import numpy as np
import scipy.stats

from gendiff.provenance import image_detection, randomisation
from tests.provenance.image_rig import BITS, CHANCE, MARKS, marked, noise, nonce_of, pictures
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

COUNT, KEYS = 300, 99
INDEX = np.arange(COUNT, dtype=np.int32)
BLANK = {"tree ring": noise, "gaussian shading": noise, "spread spectrum": pictures}


def uniform(p):
    return scipy.stats.kstest(p, "uniform").pvalue


@table("name", MARKS)
def test_p_is_uniform_without_the_key_and_least_with_it(name):
    mark = MARKS[name]()
    scores = quickly(image_detection.scores_under)
    # the first of each row asks; it is none that marked
    words = randomisation.fresh_keys(jax.random.key(5), INDEX, 1 + KEYS)
    for observed in (BLANK[name](COUNT, 3), marked(name, COUNT)):
        rows = np.asarray(scores(words, mark, observed, nonce_of(mark, INDEX)))
        assert uniform(randomisation.randomisation_p(rows[:, 0], rows[:, 1:])) > 0.01
    right = words.at[:, 0].set(mark.words[None])
    rows = np.asarray(scores(right, mark, marked(name, COUNT), nonce_of(mark, INDEX)))
    assert np.mean(randomisation.randomisation_p(rows[:, 0], rows[:, 1:]) == 1 / (1 + KEYS)) > 0.95


def test_a_part_is_found_at_any_offset_and_the_search_adds_no_false_alarms():
    mark = MARKS["gaussian shading"]()
    nonce, words = nonce_of(mark, INDEX), randomisation.fresh_keys(jax.random.key(5), INDEX, 1 + KEYS)
    scores = quickly(image_detection.scores_under)
    part, blank = (images[:, 1:15, 1:] for images in (marked("gaussian shading", COUNT), noise(COUNT, 6)))
    rows = np.asarray(scores(words, mark, blank, nonce))
    assert uniform(randomisation.randomisation_p(rows[:, 0], rows[:, 1:])) > 0.01
    rows = np.asarray(scores(words.at[:, 0].set(mark.words[None]), mark, part, nonce))
    assert np.mean(randomisation.randomisation_p(rows[:, 0], rows[:, 1:]) == 1 / (1 + KEYS)) > 0.95
    assert image_detection.read_bits(mark, part, nonce).matches.mean() > 7.99
    # an offset is chosen by sizes, not by signs: bits of unmarked pictures stay fair coins
    matches = image_detection.read_bits(mark, blank, nonce).matches
    expected = COUNT * scipy.stats.binom.pmf(range(9), 8, 0.5)
    assert scipy.stats.chisquare(np.bincount(matches, minlength=9), expected).pvalue > 0.01


def test_the_published_p_of_tree_ring_is_not_uniform_on_unmarked_noise():
    mark, blank = MARKS["tree ring"](), noise(3000, 4)
    assert uniform(image_detection.plug_in_p(mark, blank)) < 1e-4
    assert np.max(image_detection.plug_in_p(mark, marked("tree ring", COUNT))) < 1e-6


def test_detection_depends_on_the_picture_its_nonce_and_its_index_alone():
    mark, order = MARKS["gaussian shading"](), np.random.default_rng(0).permutation(COUNT)
    observed = marked("gaussian shading", COUNT) + 8 * noise(COUNT)  # so that p-values differ
    nonce = np.asarray(nonce_of(mark, INDEX))
    here = image_detection.detect(jax.random.key(CHANCE), mark, observed, INDEX, nonce, keys=KEYS)
    there = image_detection.detect(jax.random.key(CHANCE), mark, observed[order], order, nonce[order], keys=KEYS)
    np.testing.assert_array_equal(there.p, here.p[order])
    np.testing.assert_array_equal(there.score, here.score[order])
    assert len(np.unique(here.p)) > 10 and np.median(here.p) < 0.2


def test_bits_are_read_with_an_exact_p():
    mark = MARKS["gaussian shading"]()
    right = image_detection.read_bits(mark, marked("gaussian shading", COUNT), nonce_of(mark, INDEX))
    assert (
        np.array_equal(right.bits, np.tile(BITS, (COUNT, 1)))
        and np.all(right.matches == 8)
        and np.all(right.p == 2.0**-8)
    )
    blank = image_detection.read_bits(mark, noise(COUNT), nonce_of(mark, INDEX))
    assert scipy.stats.chisquare(blank.bits.sum(0), np.full(8, blank.bits.sum() / 8)).pvalue > 0.01
    assert abs(blank.matches.mean() - 4) < 5 * (2 / COUNT) ** 0.5
    np.testing.assert_allclose(blank.p, [sum(scipy.stats.binom.pmf(range(int(i), 9), 8, 0.5)) for i in blank.matches])
    silent = image_detection.read_bits(mark, np.zeros((COUNT, 16, 16, 1), np.float32), nonce_of(mark, INDEX))
    assert set(np.unique(silent.bits)) == {0, 1}  # where nothing is seen, the key guesses


def test_false_alarms_are_at_most_the_stated_share_where_the_published_rule_has_several_times_as_many():
    share = 1e-6
    for bits in (1, 8, 64, 256):
        needed = image_detection.matches_needed(bits, share)
        assert scipy.stats.binom.sf(needed - 1, bits, 0.5) <= share
        assert needed == 0 or scipy.stats.binom.sf(needed - 2, bits, 0.5) > share
    # P(X > i) is bounded, and then i itself is enough
    published = int(np.argmax(scipy.stats.binom.sf(np.arange(65), 64, 0.5) <= share))
    assert scipy.stats.binom.sf(published - 1, 64, 0.5) > 3 * share
    assert image_detection.matches_needed(64, share) == published + 1
    assert image_detection.matches_needed(8, 1.0) == 0 and image_detection.matches_needed(8, 1e-3) == 9


RING, SHADED = MARKS["tree ring"](), MARKS["gaussian shading"]()
NOWHERE = np.full((COUNT, 16, 16, 1), np.nan, np.float32)
test_mistakes_are_refused = refusals(
    (lambda: image_detection.detect(jax.random.key(CHANCE), RING, noise(2), INDEX[:2], keys=0), "keys = 0"),
    (lambda: image_detection.detect(jax.random.key(CHANCE), RING, noise(2)[..., 0], INDEX[:2]), "for the shape"),
    (
        lambda: image_detection.detect(
            jax.random.key(CHANCE), SHADED, NOWHERE, INDEX, nonce_of(SHADED, INDEX), keys=KEYS
        ),
        "score is not finite",
    ),
    (
        lambda: image_detection.detect(jax.random.key(CHANCE), RING, noise(3), INDEX[:2], keys=3),
        "index names 2 pictures, but there are 3",
    ),
    (lambda: image_detection.detect(jax.random.key(CHANCE), SHADED, noise(2), INDEX[:2]), "needs the nonce", TypeError),
    (lambda: image_detection.read_bits(RING, noise(2)), "only marks of bits", TypeError),
    (lambda: image_detection.matches_needed(0, 0.5), "bits = 0"),
    (lambda: image_detection.matches_needed(8, 0.0), "false_alarms = 0"),
)
