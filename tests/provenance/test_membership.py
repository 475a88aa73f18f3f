"""Attacks on members: optimal where the optimum is known, at chance without a signal, one call for pictures and
texts.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gendiff import diffusion, language
from gendiff.core.errors import NonFiniteError
from gendiff.provenance import attack_rates, membership
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

EXAMPLES, MODELS = 4000, 64


def standardised(rng, shape, mean, sd):
    """Draws (models, n) whose mean and deviation over models are exactly these of each example."""
    draws = rng.normal(size=shape)
    return mean + sd * (draws - draws.mean(0)) / draws.std(0, ddof=1)


@functools.cache
def toy(sd_in=1.0, sd_out=1.0):
    """Examples of very different hardness: φ is normal, and membership moves it by 2. Returns φ of the target, its
    members, shadows.
    """
    rng = np.random.default_rng(0)
    mean = rng.normal(0.0, 5.0, EXAMPLES)
    member = np.arange(EXAMPLES) < EXAMPLES // 2
    inside = np.arange(2 * MODELS)[:, None] % 2 == np.zeros(EXAMPLES)[None]
    shadows = np.empty(inside.shape)
    shadows[::2], shadows[1::2] = (
        standardised(rng, (MODELS, EXAMPLES), mean + 2, sd_in),
        standardised(rng, (MODELS, EXAMPLES), mean, sd_out),
    )
    observed = mean + np.where(member, 2 + sd_in * rng.normal(size=EXAMPLES), sd_out * rng.normal(size=EXAMPLES))
    return observed, member, shadows, inside, mean


@table("variance", membership.VARIANCES)
def test_lira_is_the_likelihood_ratio_of_neyman_and_pearson(variance):
    """The two deviations differ: with that of one side taken for both, no value would agree."""
    observed, _, shadows, inside, mean = toy(sd_in=0.5, sd_out=2.0)
    optimum = scipy.stats.norm.logpdf(observed, mean + 2, 0.5) - scipy.stats.norm.logpdf(observed, mean, 2.0)
    np.testing.assert_allclose(
        membership.lira(observed, shadows, inside, variance=variance), optimum, rtol=1e-9, atol=1e-9
    )


def test_offline_lira_is_the_tail_of_models_without_the_example_and_orders_far_ones():
    observed, _, shadows, inside, mean = toy()
    outside = shadows[~inside].reshape(MODELS, EXAMPLES)
    score = membership.lira(observed, outside, np.zeros(outside.shape, bool), offline=True)
    np.testing.assert_allclose(np.exp(-score), scipy.stats.norm.sf(observed - mean), rtol=1e-8)
    far = membership.lira(mean + 50 + np.arange(EXAMPLES), outside, np.zeros(outside.shape, bool), offline=True)
    assert np.all(np.diff(far) > 0) and np.isfinite(far).all()


def test_lira_reaches_the_optimum_at_one_percent_and_the_loss_attack_does_not():
    observed, member, shadows, inside, _ = toy()
    best = scipy.stats.norm.cdf(2 - scipy.stats.norm.isf(0.01))
    score = membership.lira(observed, shadows, inside)
    result = attack_rates.tpr_at_fpr(score[member], score[~member], 0.01)
    assert abs(result.value - best) < 0.06  # the threshold rests on 20 of the 2,000 non-members
    loss = membership.loss_attack(-observed)
    assert attack_rates.tpr_at_fpr(loss[member], loss[~member], 0.01).high < 0.5 * result.low


def test_shuffled_members_are_found_at_chance():
    observed, member, shadows, inside, _ = toy()
    score, shuffled = membership.lira(observed, shadows, inside), np.random.default_rng(1).permutation(member)
    assert abs(attack_rates.auc(score[shuffled], score[~shuffled]) - 0.5) < 4 * (12 * EXAMPLES / 4) ** -0.5
    result = attack_rates.tpr_at_fpr(score[shuffled], score[~shuffled], 0.01)
    assert result.low < 0.01 < result.high


def test_neither_the_order_of_examples_nor_that_of_models_matters():
    observed, _, shadows, inside, _ = toy()
    rng = np.random.default_rng(3)
    rows, models = rng.permutation(EXAMPLES), rng.permutation(2 * MODELS)
    score = membership.lira(observed, shadows, inside)
    moved = membership.lira(observed[rows], shadows[models][:, rows], inside[models][:, rows])
    np.testing.assert_allclose(moved, score[rows], rtol=1e-9, atol=1e-9)


IMAGES = np.random.default_rng(4).normal(size=(24, 2, 2, 1)).astype(np.float32)
SCHEDULE = diffusion.schedules.cosine(100)


def copying(params, x, t):
    """Velocity whose clean picture is the training picture nearest to x, for a model that has learned nothing but its
    data.
    """
    level = diffusion.Level(
        t,
        *(
            jnp.asarray(column, jnp.float32)[t.astype(int), None, None, None]
            for column in (SCHEDULE.table.alpha, SCHEDULE.table.sigma)
        ),
    )
    distance = jnp.sum((x[:, None] - level.alpha[:, None] * params[None]) ** 2, (2, 3, 4))
    clean = params[jnp.argmin(distance, 1)]
    noise = (x - level.alpha * clean) / level.sigma
    return level.alpha * noise - level.sigma * clean


def pictures(predict):
    return diffusion.objectives.denoising(predict, SCHEDULE, diffusion.parameterization.velocity(), drop_condition=0.0)


def test_one_call_finds_the_members_of_a_diffusion_model_that_copies():
    loss = quickly(membership.per_example(pictures(copying)))
    batches = diffusion.Batch(IMAGES[:12]), diffusion.Batch(IMAGES[12:])
    shadow = [jnp.asarray(IMAGES[rows]) for rows in (slice(0, 12), slice(6, 18), slice(12, 24), np.r_[0:6, 18:24])]
    inside = np.array(
        [
            np.isin(np.arange(24), np.arange(24)[rows])
            for rows in (slice(0, 12), slice(6, 18), slice(12, 24), np.r_[0:6, 18:24])
        ]
    )
    report = membership.membership(
        jax.random.key(0), loss, shadow[0], *batches, shadows=shadow, inside=inside, draws=8, together=9, fpr=(0.1,)
    )
    assert report.loss.auc > 0.9 and report.lira.auc > 0.9
    assert report.loss.rates[0].fpr == 0.1 and report.loss.rates[0].resolution == 1 / 12
    swapped = membership.membership(jax.random.key(0), loss, shadow[0], *batches[::-1], draws=8, together=9, fpr=(0.1,))
    assert swapped.loss.auc == pytest.approx(1 - report.loss.auc) and swapped.lira is None


def test_the_same_call_reads_a_language_model_and_its_losses_are_those_of_its_texts():
    tokens = np.random.default_rng(5).integers(0, 16, (10, 8)).astype(np.int32)
    table = np.random.default_rng(6).normal(size=(16, 16)).astype(np.float32)
    predict = lambda table, tokens: (table[tokens],)  # noqa: E731  # the next token depends on one alone
    loss = quickly(membership.per_example(language.objective.next_token(predict)))
    texts = language.Texts(tokens[:5]), language.Texts(tokens[5:])
    report = membership.membership(jax.random.key(1), loss, table, *texts, draws=1, fpr=(0.2,))
    known = scipy.special.log_softmax(table, 1)[tokens[:, :-1], tokens[:, 1:]].mean(1)
    np.testing.assert_allclose(np.r_[report.loss.members, report.loss.non_members], known, rtol=1e-5)


def test_draws_that_members_share_add_no_variance():
    """A network that answers 0 does as well on every picture: only different noise tells pictures apart."""
    noise = diffusion.parameterization.noise()
    loss = diffusion.objectives.denoising(
        lambda params, x, t: jnp.zeros_like(x), diffusion.schedules.linear(100), noise, drop_condition=0.0
    )

    def own_draws(params, key, batch):
        keys = jax.random.split(key, len(batch.clean))
        return jax.vmap(lambda one, picture: loss(params, one, diffusion.Batch(picture[None]))[0])(keys, batch.clean)

    spread = [
        np.std(membership.example_losses(jax.random.key(0), quickly(each), (), diffusion.Batch(IMAGES), draws=4))
        for each in (membership.per_example(loss), own_draws)
    ]
    assert spread[0] < 1e-6 < 0.1 < spread[1]


def test_stacked_models_answer_as_each_alone_and_parts_as_the_whole():
    def loss(params, key, batch):
        return jnp.square(params - batch).sum(-1) + jax.random.normal(key)

    each, params, batch = quickly(loss), np.arange(3.0, dtype=np.float32), IMAGES.reshape(24, 4)
    stacked = membership.example_losses(
        jax.random.key(0), quickly(jax.vmap(loss, (0, None, None))), params, batch, draws=2, together=7
    )
    alone = [membership.example_losses(jax.random.key(0), each, one, batch, draws=2) for one in params]
    np.testing.assert_allclose(stacked, alone, rtol=1e-6)


OBSERVED, SHADOWS, INSIDE = (
    np.zeros(2),
    np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 5.0]]),
    np.array([[True] * 2] * 2 + [[False] * 2] * 2),
)
SEED = 0


def attack(fpr=(0.5,), loss=lambda params, key, batch: batch, **options):
    return membership.membership(jax.random.key(SEED), loss, (), np.zeros(3), np.zeros(2), fpr=fpr, **options)


test_shadow_models_that_say_nothing_are_refused = refusals(
    (lambda: membership.lira(OBSERVED, SHADOWS, INSIDE | True), "shadow models without them"),
    (
        lambda: membership.lira(OBSERVED, SHADOWS[1:], INSIDE[1:], variance="per_example"),
        "less than 2 shadow models with them",
    ),
    (lambda: membership.lira(OBSERVED, SHADOWS * 0, INSIDE), "deviation is 0"),
)
test_shadow_models_that_say_nothing_are_refused = pytest.mark.fault(
    "membership: shadow models that are too few or all alike"
)(test_shadow_models_that_say_nothing_are_refused)
test_what_no_attack_can_use_is_refused = refusals(
    (lambda: membership.lira(OBSERVED, SHADOWS, ~INSIDE[:2]), "inside has shape"),
    (lambda: membership.lira(OBSERVED[:1], SHADOWS, INSIDE), r"observed has shape \(1,\)"),
    (lambda: membership.lira(OBSERVED, SHADOWS, INSIDE.astype(int)), "must hold booleans", TypeError),
    (lambda: membership.lira(OBSERVED, SHADOWS, INSIDE, variance="fixed"), "variance = 'fixed'"),
    (lambda: membership.lira(OBSERVED, SHADOWS * np.nan, INSIDE), "shadows is not finite"),
    (lambda: membership.loss_attack(np.array([np.inf])), "losses is not finite"),
    (lambda: attack(fpr=(0.1,)), "finer than the 1 / 2"),
    (lambda: attack(shadows=[()]), r"inside has shape \(\): \(1, 5\)"),
    (lambda: attack(loss=lambda params, key, batch: batch.mean()), "per_example", TypeError),
    (lambda: attack(loss=lambda params, key, batch: batch * np.nan), "5 of 5 losses are not finite", NonFiniteError),
    (lambda: attack(draws=0), "draws = 0"),
    (
        lambda: membership.membership(jax.random.key(SEED), attack, (), np.zeros(0), np.zeros(2)),
        "members must hold arrays",
    ),
)
