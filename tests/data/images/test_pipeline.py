"""Batches in the background are pure functions of (seed, step, process), and the time spent waiting for them is
measured.
"""

import dataclasses
import itertools
import sys
import threading
import time

import numpy as np
import pytest

from gendiff.core.errors import ConfigError, DataError
from gendiff.data import batches as order
from gendiff.data import pipeline, random_access, scaling
from tests.data.images.test_files import integers
from tests.refusals import refusals
from tests.tables import table

pytest.importorskip("grain")
PIXELS = integers(23, (2, 3, 1)).astype(np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Slow(random_access.Source):
    seconds: float = 0.0
    pixels: np.ndarray = dataclasses.field(default_factory=lambda: PIXELS)
    bad: int = -1

    def image(self, i):
        time.sleep(self.seconds)
        if i == self.bad:
            raise DataError(f"picture {i}: bad")
        return self.pixels[i]

    def name(self, i):
        return f"picture {i}"


def source(**options):
    return Slow(labels=np.arange(23, dtype=np.int32), fingerprint="slow", **options)


def rows(step, batch=6, seed=5):
    return order.batch_at(23, batch, seed, step)


def test_batches_are_the_rows_of_the_step_in_unit_range_whatever_was_asked_before():
    with pipeline.batches(source(), batch=6, seed=5, start=2) as batches:
        for step, batch in zip(range(2, 9), batches, strict=False):
            np.testing.assert_array_equal(batch.labels, rows(step))
            np.testing.assert_array_equal(batch.clean, scaling.to_unit(PIXELS[rows(step)], 256))
            assert batch.clean.dtype == np.float32 and batch.labels.dtype == np.int32 and batch.levels == 256
        for step in (7, 0, 1, 1, 2**31):
            for batch in (batches(step), batches[step]):
                np.testing.assert_array_equal(batch.labels, rows(step))


@table("flip", [False, True])
def test_the_global_batch_does_not_depend_on_the_number_of_processes(flip):
    def read(processes):
        parts = [
            pipeline.batches(source(), batch=6, seed=5, process=p, processes=processes, flip=flip)[3]
            for p in range(processes)
        ]
        return np.concatenate([part.clean for part in parts]), np.concatenate([part.labels for part in parts])

    for processes in (2, 3, 6):
        for one, many in zip(read(1), read(processes), strict=True):
            np.testing.assert_array_equal(one, many)


def test_flips_mirror_half_of_the_images_by_step_and_position_and_nothing_else():
    plain, flipped = (pipeline.batches(source(), batch=20, seed=1, flip=flip) for flip in (False, True))
    shares = []
    for step in range(30):
        before, after = plain[step], flipped[step]
        mirrored = (after.clean == before.clean[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (mirrored | (after.clean == before.clean).all(axis=(1, 2, 3))).all()
        np.testing.assert_array_equal(after.clean, flipped[step].clean)
        shares.append(mirrored)
    assert 0.4 < np.mean(shares) < 0.6 and len({tuple(share) for share in shares}) == 30
    np.testing.assert_array_equal(source().pixels, PIXELS)  # mirrored in the batch, not in the source


def test_floats_stay_as_they_are_and_mixed_shapes_are_named():
    latents = np.random.default_rng(0).normal(0, 9, (23, 4)).astype(np.float32)
    np.testing.assert_array_equal(pipeline.batches(source(pixels=latents), batch=6, seed=5)[1].clean, latents[rows(1)])
    mixed = [image[: 1 + i % 2] for i, image in enumerate(PIXELS)]
    with pytest.raises(DataError, match=r"picture \d+: shape .*but picture \d+ has .*; pass size="):
        pipeline.batches(source(pixels=mixed), batch=23, seed=5)[0]


def test_a_slow_source_makes_the_wait_rise_and_a_fast_one_is_ready_when_it_is_needed():
    with pipeline.batches(source(seconds=0.02), batch=4, seed=5, prefetch=1) as slow:
        for step in range(4):
            slow(step)
        assert slow.wait_seconds > 4 * 4 * 0.02 * 0.9
    with pipeline.batches(source(), batch=4, seed=5) as fast:
        fast(0)
        before = fast.wait_seconds
        for step in range(1, 9):
            time.sleep(0.03)  # a step of training
            fast(step)
        assert fast.wait_seconds - before < 0.5 * 8 * 0.03


def test_an_error_in_the_background_comes_to_the_caller_and_the_next_call_starts_afresh():
    bad = int(rows(2)[0])
    with pipeline.batches(source(bad=bad), batch=6, seed=5) as batches:
        batches(1)
        for _ in range(2):
            with pytest.raises(DataError, match=f"picture {bad}: bad"):
                batches(2)
        np.testing.assert_array_equal(batches(1).labels, rows(1))


def test_closing_ends_the_threads_and_a_closed_pipeline_says_so():
    def readers():
        return [thread for thread in threading.enumerate() if "grain" in thread.name]

    with pipeline.batches(source(seconds=0.001), batch=6, seed=5) as batches:
        list(itertools.islice(batches, 3))
        assert readers()
    end = time.monotonic() + 5
    while readers() and time.monotonic() < end:
        time.sleep(0.01)
    assert not readers()
    with pytest.raises(ValueError, match="is closed"):
        batches(0)


@pytest.mark.slow
def test_worker_processes_give_the_same_batches():
    with pipeline.batches(source(), batch=6, seed=5, start=1, flip=True, workers=2) as batches:
        for step, batch in zip(range(1, 5), batches, strict=False):
            expected = batches[step]
            np.testing.assert_array_equal(batch.clean, expected.clean)
            np.testing.assert_array_equal(batch.labels, expected.labels)
            assert type(batch.clean) is np.ndarray


def test_without_grain_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"need grain: install .*\[data\]"):
        pipeline.batches(source(), batch=1, seed=0)


test_wrong_arguments_are_refused = refusals(
    (lambda: pipeline.batches(source(), batch=24, seed=0), r"batch = 24 is outside \[1, 23\]"),
    (lambda: pipeline.batches(source(), batch=2, seed=-1), "seed = -1"),
    (lambda: pipeline.batches(source(), batch=2, seed=0, process=1), "process = 1"),
    (lambda: pipeline.batches(source(), batch=2, seed=0, prefetch=0), "prefetch = 0"),
    (
        lambda: pipeline.batches(source(), batch=7, seed=0, processes=3),
        "batch = 7 is not a multiple of processes = 3; use 6 or 9",
        ConfigError,
    ),
    (lambda: pipeline.batches(source(), batch=7, seed=0)(-1), "step = -1"),
)
