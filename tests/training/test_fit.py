import time

import jax
import numpy as np
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError, NonFiniteError
from gendiff.training.checkpoints import Checkpoints
from tests.refusals import refusals
from tests.tables import table
from tests.training import linear

STEPS = 7
FRESH = jax.jit(lambda key: training.start(linear.params(), linear.adamw(), key, (0.9, 0.5)))


def fit(batches=linear.batch, folder=None, step=linear.STEP, **options):
    options = {"steps": STEPS, "seed": 0, "checkpoint_every": 3, "store": folder} | options
    return training.fit(training.CompiledStep(step, FRESH, None, training.sharding.mesh()), batches, **options)


@pytest.fixture(scope="module")
def uninterrupted():
    """The state of an uninterrupted training, saved nowhere."""
    return fit().state


@table("way", ["died", "stopped"])
def test_a_training_that_was_interrupted_and_called_again_ends_bitwise_as_one_that_was_not(
    way, uninterrupted, tmp_path
):
    def dies(step, metrics):
        records.append(step)
        if step == 5 and way == "died":
            raise KeyboardInterrupt

    records = []
    try:
        first = fit(folder=tmp_path, on_step=dies, stop=lambda: way == "stopped" and bool(records) and records[-1] == 4)
    except KeyboardInterrupt:
        saved = 3
    else:
        saved = first.saved
        assert first.stopped and first.resumed_from is None and int(first.state.step) == saved == 5
    again = fit(folder=tmp_path, on_step=lambda step, metrics: records.append(-step))
    assert again.resumed_from == saved and not again.stopped and again.saved == STEPS
    assert records == [*range(1, 6), *range(-saved - 1, -STEPS - 1, -1)]
    linear.assert_bitwise_equal(again.state, uninterrupted)
    finished = fit(folder=tmp_path, on_step=lambda *_: pytest.fail("no step is left"))
    assert finished.resumed_from == STEPS
    linear.assert_bitwise_equal(finished.state, uninterrupted)
    with pytest.raises(ConfigError, match="steps = 6, but .* holds step 7"):
        fit(folder=tmp_path, steps=6)


def test_the_state_of_each_step_is_shown_and_looking_changes_nothing(uninterrupted):
    metrics = {}
    watched = fit(
        on_state=lambda step, state: metrics.update(
            {step: (int(state.step), float(jax.tree.leaves(state.ema)[0].sum()))}
        )
    )
    assert [step for step, _ in metrics.values()] == list(metrics) == list(range(1, STEPS + 1))
    assert len({total for _, total in metrics.values()}) == STEPS
    linear.assert_bitwise_equal(watched.state, uninterrupted)


def test_metrics_are_plain_numbers_and_come_one_step_late_and_all_of_them():
    steps, records = [], []

    def batches(step):
        steps.append((step, len(records)))
        return linear.batch(step)

    fit(batches, on_step=lambda step, metrics: records.append(metrics), checkpoint_every=100)
    assert steps == [(0, 0), (1, 0), *((step, step - 1) for step in range(2, STEPS))] and len(records) == STEPS
    assert set(records[0]) == {"loss", "grad_norm", "finite", "largest", "skipped", "data_share"}
    assert all(type(value) in (float, bool, int) for metrics in records for value in metrics.values())


def test_steps_that_are_not_finite_are_counted_across_a_resume_and_many_in_a_row_end_it(tmp_path):
    def batches(step):
        return (
            jax.tree.map(lambda array: array * np.nan, linear.batch()) if step in (1, 4, 5, 6) else linear.batch(step)
        )

    records = []
    fit(batches, tmp_path, steps=3)
    fit(batches, tmp_path, on_step=lambda step, metrics: records.append(metrics["skipped"]), steps=6)
    assert records == [1, 2, 3]
    with pytest.raises(NonFiniteError, match="3 steps in a row, the last of them step 7"):
        fit(batches, tmp_path, most_nonfinite=3)
    with Checkpoints(tmp_path, read_only=True) as store:
        assert store.steps() == [3, 6]


def test_seconds_add_up_to_the_wall_clock_and_a_slow_source_shows_in_them(tmp_path):
    def slow(step):
        time.sleep(0.03)
        return linear.batch(step)

    data = {}
    with Checkpoints(tmp_path) as store:
        for source, saved in ((linear.batch, None), (slow, store)):
            begin = time.perf_counter()
            timing = fit(source, on_step=lambda *_: time.sleep(0.005), store=saved).timing
            assert timing.total == pytest.approx(time.perf_counter() - begin, rel=0.01, abs=0.01)
            assert timing.compile > 0 and timing.step > 0 and (timing.checkpoint > 0) is (saved is not None)
            assert timing.idle >= 0.005 * STEPS and sum(map(timing.share, training.timing.PHASES)) == pytest.approx(1)
            data[source] = timing.data
    assert data[slow] >= 0.03 * STEPS / 2 and data[slow] > data[linear.batch]


def test_another_seed_is_another_training(uninterrupted):
    assert not np.array_equal(fit(seed=1).state.params["dense"]["kernel"], uninterrupted.params["dense"]["kernel"])


def taken(state, batch):
    return state, {"skipped": jax.numpy.zeros(()), "finite": jax.numpy.ones(())}


test_mistakes_are_refused = refusals(
    (lambda: fit(steps=0), "steps = 0 must be at least 1"),
    (lambda: fit(most_nonfinite=0), "most_nonfinite = 0 must be at least 1"),
    (lambda: fit(seed=-1), "seed = -1"),
    (lambda: fit(resume="newest"), "resume = 'newest' is none of"),
    (lambda: fit(step=jax.jit(taken), on_step=print), "'skipped'"),
)
