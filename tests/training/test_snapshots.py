import jax
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError, DataError
from gendiff.training import post_hoc_ema, snapshots
from gendiff.training.checkpoints import Checkpoints
from gendiff.training.post_hoc_ema import Snapshot, power
from tests.refusals import refusals
from tests.tables import table
from tests.training import linear

TRACKS = (power(0.1), 0.9, power(0.2))
RUN = training.compile_loss(linear.noisy, linear.adamw(), lambda key: linear.params(), ema=TRACKS)
STEPS, EVERY = 8, 3


def loop(folder, **options):
    with Checkpoints(folder) as store, Checkpoints(folder / "snapshots", keep_every=1, keep=1) as snapshots:
        options = {
            "steps": STEPS,
            "seed": 0,
            "checkpoint_every": 5,
            "snapshot_every": EVERY,
            "store": store,
            "snapshots": snapshots,
        } | options
        return training.fit(RUN, linear.batch, **options)


def fit(folder="/nonexistent", ema=(0.9,), **options):
    program = training.compile_loss(linear.noisy, optax.sgd(0.1), lambda key: linear.params(), ema=ema)
    return training.fit(program, linear.batch, steps=3, store=folder, **options)


def bits(folder):
    with Checkpoints(folder / "snapshots", read_only=True) as snapshots:
        states = {step: snapshots.restore(step, snapshots.contents(step)).state for step in snapshots.steps()}
    return {(step, path): np.asarray(leaf).tobytes() for step, state in states.items() for path, leaf in state.items()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(folder, tracks after each step, params after the last) of an uninterrupted training."""
    folder, states = tmp_path_factory.mktemp("whole"), {}
    fitted = loop(folder, on_state=lambda step, state: states.update({step: jax.device_get(state.tracks)}))
    return folder, states, fitted.state.params


def test_every_so_many_steps_and_the_last_the_power_functions_are_stored_and_nothing_else(uninterrupted):
    folder, states, _ = uninterrupted
    with Checkpoints(folder / "snapshots", read_only=True) as store:
        assert snapshots.stored(store) == [Snapshot(length, step) for step in (3, 6, 8) for length in (0.1, 0.2)]
        assert {path.split("/")[0] for path in store.contents(3)} == {"power_0.1", "power_0.2"}
        for length in (0.1, 0.2):
            rebuilt = snapshots.reconstruct(store, linear.params(), length, 6)
            jax.tree.map(np.testing.assert_array_equal, rebuilt, states[6][power(length)])


def test_a_length_that_was_not_tracked_is_the_best_sum_of_what_is_stored(uninterrupted):
    folder, states, params = uninterrupted
    with Checkpoints(folder / "snapshots", read_only=True) as store:
        rebuilt = snapshots.reconstruct(store, params, 0.15)
        stored = snapshots.stored(store)
    factors = post_hoc_ema.weights(stored, Snapshot(0.15, STEPS))
    kernels = [states[snapshot.step][power(snapshot.relative_std)]["dense"]["kernel"] for snapshot in stored]
    np.testing.assert_allclose(rebuilt["dense"]["kernel"], np.tensordot(factors, kernels, 1), rtol=1e-5, atol=1e-6)


@table("dies_at", [4, 7])  # before any checkpoint, and after one with a snapshot that is newer
def test_snapshots_of_a_training_that_was_killed_and_resumed_are_those_of_one_that_was_not(
    dies_at, uninterrupted, tmp_path
):
    def dies(step, state):
        if step == dies_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path, on_state=dies)
    assert loop(tmp_path).resumed_from == (None if dies_at == 4 else 5)
    assert bits(tmp_path) == bits(uninterrupted[0])


def test_fit_keeps_them_beside_its_checkpoints(tmp_path):
    fitted = fit(tmp_path, ema=TRACKS, snapshot_every=2)
    with Checkpoints(tmp_path / "snapshots", read_only=True) as snapshot_store:
        rebuilt = snapshots.reconstruct(snapshot_store, linear.params(), 0.2)
        assert snapshot_store.steps() == [2, 3]
    with Checkpoints(tmp_path, read_only=True) as store:
        assert store.latest_valid() == 3
    jax.tree.map(np.testing.assert_array_equal, rebuilt, fitted.state.tracks[power(0.2)])


test_mistakes_are_refused_before_a_folder_is_made = refusals(
    (lambda: fit(snapshot_every=0, ema=TRACKS), "snapshot_every = 0 must be at least 1", ConfigError),
    (lambda: fit(snapshot_every=5), "the state has none: use ema=", ConfigError),
    (lambda: fit(None, snapshot_every=5, ema=TRACKS), "needs a folder", ConfigError),
    (lambda: snapshots.tracks(linear.start()), "the state has none", ConfigError),
)


def test_a_folder_without_snapshots_says_so(tmp_path):
    with Checkpoints(tmp_path) as store, pytest.raises(DataError, match="holds no snapshots"):
        snapshots.stored(store)
