import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.errors import ConfigError
from gendiff.training import ema, post_hoc_ema
from gendiff.training.post_hoc_ema import Snapshot
from tests.refusals import refusals
from tests.tables import table
from tests.training import linear

STEPS = 400
SHORT, LONG = 0.05, 0.1
STORED = [Snapshot(length, step) for step in range(40, STEPS + 1, 40) for length in (SHORT, LONG)]


def shares(relative_std, step):
    """(STEPS,) the weight of the parameters of step i = 1, 2, … in the average of one step: the integral of its profile
    over (i - 1, i].
    """
    edges = np.arange(STEPS + 1) / step
    return np.where(edges[1:] <= 1, np.diff(edges ** (post_hoc_ema.gamma(relative_std) + 1)), 0.0)


def of_walk(values):
    return lambda snapshot: {"w": shares(*snapshot) @ values, "n": np.int32(snapshot.step)}


@table("relative_std, exponent", [(0.05, 16.972199), (0.1, 6.937204), (0.25, None), (0.01, None)])
def test_the_exponent_is_the_published_one_and_gives_back_the_relative_std_of_its_profile(relative_std, exponent):
    gamma = post_hoc_ema.gamma(relative_std)
    if exponent:
        assert gamma == pytest.approx(exponent, abs=1e-6)
    assert math.sqrt(gamma + 1) / (gamma + 2) / math.sqrt(gamma + 3) == pytest.approx(relative_std, rel=1e-10)
    tau = (np.arange(200_000) + 0.5) / 200_000
    profile = (gamma + 1) * tau**gamma / len(tau)
    mean = profile @ tau
    assert math.sqrt(profile @ (tau - mean) ** 2) == pytest.approx(relative_std, rel=1e-4)


def test_the_longest_average_is_the_plain_mean():
    assert post_hoc_ema.gamma(post_hoc_ema.LONGEST) == pytest.approx(0, abs=1e-7)


@pytest.mark.float64
@table("relative_std", [SHORT, 0.2])
def test_a_track_that_is_kept_up_step_by_step_is_the_sum_that_its_profile_says_and_begins_at_the_first_params(
    relative_std,
):
    values = np.random.default_rng(0).normal(size=(STEPS, 2)).cumsum(0)
    track = post_hoc_ema.power(relative_std)

    def one(average, at):
        average = track.update(average, at[1], at[0])
        return average, average

    _, averages = jax.lax.scan(one, ema.start(jnp.full(2, 1e3)), (jnp.arange(STEPS), jnp.asarray(values)))
    np.testing.assert_allclose(averages[0], values[0], rtol=1e-12)
    for step in (2, 37, STEPS):
        np.testing.assert_allclose(averages[step - 1], shares(relative_std, step) @ values, rtol=1e-9)


def test_float32_keeps_the_digits_of_a_small_share():
    step = 2_000_000
    moved = post_hoc_ema.power(SHORT).update(ema.start(jnp.zeros(1)), jnp.ones(1), jnp.int32(step - 1))
    assert float(moved[0]) == pytest.approx(
        -math.expm1((post_hoc_ema.gamma(SHORT) + 1) * math.log1p(-1 / step)), rel=1e-6
    )


@table("relative_std, step", [(0.07, STEPS), (0.15, STEPS), (0.07, 300), (0.04, 360), (0.02, STEPS)])
def test_the_weights_are_the_least_squares_optimum_over_all_steps_and_its_error_is_the_stated_one(relative_std, step):
    """A walk that visits a new axis at each step has the shares themselves as its average."""
    requested = Snapshot(relative_std, step)
    profiles, target = np.stack([shares(*snapshot) for snapshot in STORED], 1), shares(*requested)
    ours = profiles @ post_hoc_ema.weights(STORED, requested) - target
    best = profiles @ np.linalg.lstsq(profiles, target, rcond=None)[0] - target
    size = np.linalg.norm(target)
    # steps are whole here and continuous there
    assert np.linalg.norm(ours) / size <= np.linalg.norm(best) / size + 2e-3
    assert post_hoc_ema.relative_error(STORED, requested) == pytest.approx(np.linalg.norm(ours) / size, abs=5e-3)


def test_lengths_between_and_beyond_the_stored_ones_fit_well_and_a_length_below_the_spacing_of_snapshots_does_not():
    errors = {
        length: post_hoc_ema.relative_error(STORED, Snapshot(length, STEPS)) for length in (0.02, 0.07, 0.15, 0.2)
    }
    assert errors[0.07] < 0.01 < errors[0.2] < 0.06 < 0.2 < errors[0.02]


def test_an_average_of_a_random_walk_that_was_never_tracked_comes_back_and_a_wrong_length_is_far():
    values = np.random.default_rng(1).normal(size=(STEPS, 50)).cumsum(0)
    rebuilt = post_hoc_ema.reconstruct(of_walk(values), STORED, Snapshot(0.07, STEPS))
    far, near = (np.linalg.norm(rebuilt["w"] - shares(length, STEPS) @ values) for length in (0.06, 0.07))
    assert near < far / 20
    assert rebuilt["n"] == STEPS and rebuilt["n"].dtype == np.int32


def test_a_stored_average_comes_back_bit_by_bit_and_nothing_else_is_read():
    read = []

    def one(snapshot):
        read.append(snapshot)
        return {"w": jnp.float32([0.1, -3.3]) * snapshot.step}

    rebuilt = post_hoc_ema.reconstruct(one, STORED, Snapshot(LONG, 120))
    np.testing.assert_array_equal(rebuilt["w"], one(Snapshot(LONG, 120))["w"])
    assert read == [Snapshot(LONG, 120)] * 2


def test_without_the_short_cut_the_weights_of_a_stored_average_are_one_and_zero():
    nearly = post_hoc_ema.weights(STORED, Snapshot(LONG * (1 + 1e-13), 200))
    np.testing.assert_allclose(nearly, [float(snapshot == Snapshot(LONG, 200)) for snapshot in STORED], atol=1e-4)


def test_what_is_read_stays_usable_though_the_sum_is_donated():
    saved = {snapshot: {"w": jnp.float32([1.0, 2.0])} for snapshot in STORED}
    rebuilt = post_hoc_ema.reconstruct(saved.__getitem__, STORED, Snapshot(0.07, STEPS))
    # the weights add up to one as nearly as the profiles fit
    np.testing.assert_allclose(rebuilt["w"], [1.0, 2.0], rtol=5e-3)
    assert not any(tree["w"].is_deleted() for tree in saved.values())


def test_tracks_of_both_kinds_stand_in_one_state_and_a_step_moves_each_by_its_own_rule():
    tracks = (post_hoc_ema.power(LONG), 0.9, post_hoc_ema.power(SHORT))
    state = linear.start(ema=tracks)
    assert list(jax.tree.map(jnp.copy, state.tracks)) == [0.9, post_hoc_ema.power(SHORT), post_hoc_ema.power(LONG)]
    first, _ = linear.STEP(state, linear.batch())
    assert first.ema is first.tracks[post_hoc_ema.power(LONG)] and first.decays == tracks
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), first.ema, first.params)
    began = (
        first.params["dense"]["kernel"].copy(),
        {track: first.tracks[track]["dense"]["kernel"].copy() for track in tracks},
    )
    second, _ = linear.STEP(first, linear.batch(1))
    moved = second.params["dense"]["kernel"] - began[0]
    for track in (tracks[0], tracks[2]):
        share = 1 - 0.5 ** (post_hoc_ema.gamma(track.relative_std) + 1)
        np.testing.assert_allclose(second.tracks[track]["dense"]["kernel"] - began[1][track], share * moved, atol=1e-6)


def test_tracks_sort_after_decays_and_by_length_whatever_their_order():
    tracks = [0.999, 0.1, post_hoc_ema.power(0.05), post_hoc_ema.power(0.1)]
    requested = [0.1, 0.999, *tracks[2:]]
    assert all(sorted(order) == requested for order in itertools.permutations(tracks))
    assert post_hoc_ema.power(0.1) == post_hoc_ema.power(0.1) != 0.1


def test_the_step_count_is_data():
    track = post_hoc_ema.power(SHORT)
    jitted = jax.jit(track.update)
    for count in range(3):
        jitted(jnp.zeros(2), jnp.ones(2), jnp.int32(count))
    assert jitted._cache_size() == 1


test_mistakes_are_refused = refusals(
    (lambda: post_hoc_ema.power(0.0), r"relative_std = 0.0 is outside \(0, 0.2887\]", ConfigError),
    (lambda: post_hoc_ema.power(0.3), "relative_std = 0.3", ConfigError),
    (lambda: post_hoc_ema.power(float("nan")), "relative_std = nan", ConfigError),
    (lambda: linear.start(ema=[post_hoc_ema.power(0.1)] * 2), "power_0.1, power_0.1. names a track twice", ConfigError),
    (lambda: post_hoc_ema.weights([], Snapshot(0.1, 1)), "stored is empty"),
    (lambda: post_hoc_ema.weights([STORED[0]] * 2, Snapshot(0.1, 1)), "twice"),
    (
        lambda: post_hoc_ema.weights(STORED, Snapshot(0.1, STEPS + 1)),
        f"requested.step = {STEPS + 1} is after the newest stored step {STEPS}",
    ),
    (lambda: post_hoc_ema.weights(STORED, Snapshot(0.1, 0)), "step = 0 is outside"),
)
