"""What every loss and every penalty keeps: its paper's formula, finite slopes, the facts that the catalogue lists, and
no second trace.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.adversarial import (
    AdversarialLoss,
    Penalty,
    catalogue,
    constraints,
    growing,
    losses,
    packing,
    penalties,
    spectral,
    watch,
)
from gendiff.adversarial.catalogue import LOSSES, PENALTIES
from tests.quickly import quickly
from tests.refusals import Ends, ends, refusals
from tests.tables import table
from tests.traced import Traced

every_loss = table("name", LOSSES)
every_penalty = table("name", PENALTIES)

R, F = np.array([[1.5, 0.4, -0.3, 0.8, -2.0], [-1.6, 0.9, 0.2, -0.5, 2.5]], np.float32)  # on both sides of all margins
GAMES = {
    "usual": (R, F),
    "shifted": (R + 3, F + 3),
    "sure": (np.full(5, 20.0), np.full(5, -20.0)),
    "huge": (np.full(5, 1e4), np.full(5, -1e4)),
    "huge, fooled": (np.full(5, -1e4), np.full(5, 1e4)),
}


@functools.cache
def played(name):
    """By game: for critic and generator the loss and its slopes by real and by generated logits."""
    loss = LOSSES[name].make()

    def both(real, fake):
        return {
            player: jax.value_and_grad(getattr(loss, player), (0, 1))(real, fake) for player in ("critic", "generator")
        }

    sides = (np.stack(side).astype(np.float32) for side in zip(*GAMES.values(), strict=True))
    answers = jax.tree.map(np.asarray, quickly(jax.vmap(both))(*sides))
    return {game: jax.tree.map(lambda leaf, number=number: leaf[number], answers) for number, game in enumerate(GAMES)}


def log_sigmoid(x):
    return np.log(1 / (1 + np.exp(-x.astype(np.float64))))


# (critic, generator) as the papers write them, to be minimised; the logarithms of 1 − D use 1 − sigmoid(x) =
# sigmoid(−x).
FORMULAS = {
    "non_saturating": (
        lambda r, f: -np.mean(log_sigmoid(r)) - np.mean(log_sigmoid(-f)),
        lambda r, f: -np.mean(log_sigmoid(f)),
    ),
    "minimax": (
        lambda r, f: -np.mean(log_sigmoid(r)) - np.mean(log_sigmoid(-f)),
        lambda r, f: np.mean(log_sigmoid(-f)),
    ),
    "hinge": (lambda r, f: -np.mean(np.minimum(0, r - 1)) - np.mean(np.minimum(0, -f - 1)), lambda r, f: -np.mean(f)),
    "wasserstein": (lambda r, f: -(np.mean(r) - np.mean(f)), lambda r, f: -np.mean(f)),
    "relativistic": (lambda r, f: -np.mean(log_sigmoid(r - f)), lambda r, f: -np.mean(log_sigmoid(f - r))),
}


@every_loss
def test_both_losses_are_those_of_the_paper(name):
    for game in ("usual", "shifted", "sure"):
        for formula, player in zip(FORMULAS[name], ("critic", "generator"), strict=True):
            np.testing.assert_allclose(played(name)[game][player][0], formula(*GAMES[game]), rtol=1e-5, atol=1e-7)


@every_loss
def test_losses_and_slopes_are_finite_for_logits_of_any_size(name):
    assert all(np.all(np.isfinite(leaf)) for game in GAMES for leaf in jax.tree.leaves(played(name)[game]))


@every_loss
def test_the_critic_raises_real_logits_and_lowers_generated_ones_which_the_generator_raises(name):
    for game in GAMES:
        (_, (real, fake)), (_, (_, raised)) = played(name)[game]["critic"], played(name)[game]["generator"]
        assert np.all(real <= 0) and np.all(fake >= 0) and np.all(raised <= 0)
    usual = played(name)["usual"]
    assert (
        np.any(usual["critic"][1][0] < 0) and np.any(usual["critic"][1][1] > 0) and np.all(usual["generator"][1][1] < 0)
    )


@every_loss
def test_it_is_shift_invariant_zero_sum_saturating_or_paired_exactly_where_the_catalogue_says_so(name):
    games, facts = played(name), LOSSES[name].facts
    usual, shifted = games["usual"], games["shifted"]
    same = [np.allclose(usual["critic"][0], shifted["critic"][0], atol=1e-6)]
    same += [np.allclose(one, other, atol=1e-7) for one, other in zip(*map(slopes, (usual, shifted)), strict=True)]
    assert all(same) == (catalogue.SHIFT_INVARIANT in facts)
    taken, won = usual["critic"][1][1], usual["generator"][1][1]
    assert np.allclose(taken + won, 0, atol=1e-7) == (catalogue.ZERO_SUM in facts)
    assert (np.max(np.abs(games["sure"]["generator"][1][1])) < 1e-6) == (catalogue.SATURATING in facts)
    assert np.any(usual["generator"][1][0] != 0) == (catalogue.PAIRED in facts) == LOSSES[name].make().uses_real


def slopes(game):
    return jax.tree.leaves([game[player][1] for player in ("critic", "generator")])


@every_loss
def test_losses_are_means_in_single_precision_at_least(name):
    loss, sides = LOSSES[name].make(), [jnp.asarray(np.tile(side, 2), jnp.bfloat16) for side in (R, F)]
    both = quickly(lambda *sides: {player: getattr(loss, player)(*sides) for player in ("critic", "generator")})(*sides)
    for player, value in both.items():
        assert value.dtype == np.float32 and abs(value - played(name)["usual"][player][0]) < 0.02


# The critic is a · x + x'Mx / 2, M symmetric, whose slope is a + M x.


def cost(penalty, params, seed, real, fake):
    def criticise(x):
        flat = x.reshape(x.shape[0], -1)
        return flat @ params["a"] + jnp.sum((flat @ params["m"]) * flat, axis=1) / 2

    return penalty(jax.random.key(seed), criticise, real, fake)


X, Y = np.random.default_rng(1).normal(size=(2, 6, 2, 2)).astype(np.float32)
A = np.array([2.0, -1.0, 0.0, 2.0], np.float32)  # of length 3
M = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)
M = M + M.T
FLAT = np.zeros((4, 4), np.float32)


@functools.cache
def runner(name):
    return Traced(jax.value_and_grad(cost, argnums=1), jit=quickly)


def measured(name, a=A, m=FLAT, weight=5.0, seed=0, real=X, fake=Y):
    return jax.device_get(runner(name)(PENALTIES[name].make(weight), {"a": a, "m": m}, seed, real, fake))


def expected(name, slopes, weight):
    """Of slopes (b, d), by the papers' formulas."""
    lengths = np.linalg.norm(slopes, axis=1)
    return weight * np.mean((lengths - 1) ** 2) if name == "gradient" else weight / 2 * np.mean(lengths**2)


@every_penalty
def test_it_is_its_closed_form_for_a_linear_critic_and_so_is_its_gradient(name):
    value, by = measured(name)
    np.testing.assert_allclose(value, expected(name, A[None], 5.0), rtol=1e-5)
    np.testing.assert_allclose(by["a"], 5.0 * (2 * (3 - 1) * A / 3 if name == "gradient" else A), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(measured(name, a=A / 3)[0], 0.0 if name == "gradient" else 2.5, atol=1e-6)


@every_penalty
def test_it_is_its_closed_form_for_a_quadratic_critic(name):
    at = Y if name == "r2" else X
    value, _ = measured(name, m=M, **({"fake": X} if name == "gradient" else {}))  # its segments are then points
    np.testing.assert_allclose(value, expected(name, A + at.reshape(6, 4) @ M, 5.0), rtol=1e-5)


@every_penalty
def test_a_slope_of_zero_costs_what_it_should_and_has_no_gradient_rather_than_nan(name):
    value, by = measured(name, a=0 * A)
    assert value == (5.0 if name == "gradient" else 0.0)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by))


@every_penalty
def test_it_depends_on_the_key_and_on_real_and_generated_samples_exactly_where_the_catalogue_says_so(name):
    usual, facts = measured(name, m=M)[0], PENALTIES[name].facts
    changes = {
        catalogue.RANDOM: {"seed": 1},
        catalogue.READS_REAL: {"real": X + 1},
        catalogue.READS_FAKE: {"fake": Y + 1},
    }
    assert {fact for fact, change in changes.items() if measured(name, m=M, **change)[0] != usual} == set(facts)


@every_penalty
def test_its_weight_is_data_and_multiplies(name):
    first = measured(name, m=M)[0]
    before = runner(name).traces
    np.testing.assert_allclose(measured(name, m=M, weight=0.5)[0], first / 10, rtol=1e-5)
    assert runner(name).traces == before


def test_rebuilt_records_are_equal_hash_alike_and_differ_from_their_siblings():
    for members, build in ((LOSSES, lambda listed: listed.make()), (PENALTIES, lambda listed: listed.make(2.0))):
        assert all(
            build(listed) == build(listed) and hash(build(listed)) == hash(build(listed)) for listed in members.values()
        )
        assert len({build(listed) for listed in members.values()}) == len(members)
    assert all(listed.make(1.0) != listed.make(2.0) for listed in PENALTIES.values())


def test_every_public_loss_and_penalty_is_in_its_table():
    for module, kind, members in ((losses, AdversarialLoss, LOSSES), (penalties, Penalty, PENALTIES)):
        functions = {
            name: value
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        }
        assert {name for name, value in functions.items() if value.__annotations__["return"] is kind} == set(members)
        assert all(
            isinstance(listed.make(*(() if kind is AdversarialLoss else (1.0,))), kind) for listed in members.values()
        )
    assert set(FORMULAS) == set(LOSSES)


ROW = np.zeros(4, np.float32)
ROWS, KERNEL = np.arange(12, dtype=np.float32).reshape(12, 1), {"kernel": np.ones((2, 3), np.float32)}


def with_share(name):
    return lambda value: watch.report(ROWS, ROWS, **{name: value})


test_numbers_are_taken_up_to_the_ends_of_their_ranges_and_refused_beyond_them = ends(
    *(Ends(PENALTIES[name].make, "weight", 0.0, open_high=True) for name in PENALTIES),
    Ends(lambda value: penalties.gradient(1.0, value), "target", 0.0, open_high=True),
    Ends(constraints.weight_clipping, "limit", 0.0, open_low=True, open_high=True),
    Ends(lambda value: jax.eval_shape(lambda: spectral.start(jax.random.key(0), KERNEL, value)), "iterations", 0),
    Ends(lambda value: growing.growth([2], fading=value), "fading", 0.0, 1.0),
    Ends(lambda value: growing.growth([2, value]), "steps", 1),
    Ends(lambda value: growing.growth([2]).at(value), "step", 0),
    Ends(lambda value: jax.eval_shape(lambda: growing.fade_in(ROWS, ROWS, value)), "weight", 0.0, 1.0),
    Ends(lambda value: packing.packed(ROWS, value), "m", 1, 12),
    *(Ends(with_share(name), name, 0.0, 1.0, open_low=True) for name in ("least_ratio", "least_modes")),
)


@every_loss
def test_no_gradient_of_a_row_depends_on_another_row(name):
    """A critic's logit of one sample moves what the generator learns from that sample, and from no other."""
    slope, change = jax.vmap(jax.grad(LOSSES[name].make().generator, 1), (None, 0)), np.zeros((2, 5), np.float32)
    change[1, 2] = 0.7
    before, after = np.asarray(quickly(slope)(R, F + change))
    np.testing.assert_array_equal(np.delete(before, 2), np.delete(after, 2))
    np.testing.assert_allclose(before, played(name)["usual"]["generator"][1][1], rtol=1e-5)


test_logits_that_do_not_fit_are_refused = pytest.mark.fault("adversarial: logits that are not (b,)")(
    refusals(
        *(
            (lambda name=name: LOSSES[name].make().critic(ROW[:, None], ROW[:, None]), r"real has shape \(4, 1\)")
            for name in LOSSES
        ),
        *(
            (lambda name=name: LOSSES[name].make().critic(ROW, ROW[:3]), r"\(4,\) but fake has shape \(3,\)")
            for name in LOSSES
        ),
        *(
            (lambda name=name: LOSSES[name].make().generator(ROW[None], ROW[None]), r"has shape \(1, 4\)")
            for name in LOSSES
        ),
        (lambda: losses.relativistic().generator(None, ROW), "real is None", TypeError),
    )
)
