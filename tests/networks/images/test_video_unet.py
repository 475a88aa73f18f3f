"""The U-Net of clips: what a frame sees, exact moves on a torus, previous frames, and a cache that answers as whole
clips do.
"""

import functools

import jax
import numpy as np
import pytest

from gendiff import networks
from tests.networks.rig import apply, random_params
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.tables import table

RNG = np.random.default_rng(0)
CLIPS = RNG.normal(size=(2, 5, 8, 4, 1)).astype(np.float32)
T = RNG.uniform(0, 1000, size=(2, 5)).astype(np.float32)
LABEL = np.array([3, -1], np.int32)
CAUSAL = {"along_time": "causal", "window": 3, "previous": 2}
KINDS = {"full": {"along_time": "full"}, "factorised": {}, "causal": CAUSAL}


def video(**changes):
    fields = {"channels": (4, 12), "blocks": 1, "attention": (), "attention_levels": (1,), "heads": 2, "groups": 2}
    return networks.VideoUNet(**(fields | {"num_classes": 5, "circular": True} | changes))


@functools.cache
def params_of(kind):
    return random_params(video(**KINDS[kind]), CLIPS, T, LABEL)


def run(kind, x, *condition, t=T):
    return np.asarray(apply(networks.pure(video(**KINDS[kind])), params_of(kind), x, t, LABEL, *condition))


def sees(kind):
    """Which frames (row) depend on which frames of x (column)."""
    full = run(kind, CLIPS)
    changed = [np.where((np.arange(5) == frame)[None, :, None, None, None], -CLIPS, CLIPS) for frame in range(5)]
    return np.stack([np.abs(run(kind, x) - full).max((0, 2, 3, 4)) > 1e-6 for x in changed], 1)


@table("kind", KINDS)
def test_a_clip_that_is_moved_over_the_torus_is_answered_by_the_answer_moved_alike(kind):
    full = run(kind, CLIPS)
    assert np.abs(full).max() > 0.1
    for move in ((2, 0), (0, 2), (6, 2)):
        np.testing.assert_allclose(run(kind, np.roll(CLIPS, move, (2, 3))), np.roll(full, move, (2, 3)), atol=1e-4)
    assert np.abs(np.roll(full, 1, 2) - run(kind, np.roll(CLIPS, 1, 2))).max() > 1e-3  # halved, it has no odd places


def test_a_frame_sees_all_frames_or_those_of_the_windows_of_its_layers_and_never_a_later_one():
    """Three layers of attention reach back two frames each, and the first convolution two more."""
    assert sees("full").all() and sees("factorised").all()
    np.testing.assert_array_equal(sees("causal"), np.tri(5, dtype=bool))


def test_the_order_of_frames_matters_and_times_of_frames_that_are_equal_are_the_time_of_the_clip():
    for kind in ("full", "factorised"):
        assert np.abs(run(kind, CLIPS[:, ::-1])[:, ::-1] - run(kind, CLIPS)).max() > 1e-3
    clip = np.array([20.0, 700.0], np.float32)
    plain = run("factorised", CLIPS, t=clip)
    np.testing.assert_allclose(run("factorised", CLIPS, t=np.repeat(clip[:, None], 5, 1)), plain, atol=1e-5)


def test_previous_frames_come_from_a_history_in_place_of_x_and_never_from_the_frame_itself():
    full = run("causal", CLIPS)
    np.testing.assert_array_equal(run("causal", CLIPS, networks.History(CLIPS)), full)
    later = np.where((np.arange(5) < 3)[None, :, None, None, None], CLIPS, -CLIPS)
    other = np.abs(run("causal", CLIPS, networks.History(later)) - full).max((0, 2, 3, 4))
    np.testing.assert_array_equal(other > 1e-6, [False, False, False, False, True])


@functools.partial(in_numpy, static_argnums=0)
def goes_on(network, params, x, t, cache):
    return networks.pure(network)(params, x, t, cache, LABEL)


@pytest.mark.fault("clips: a cache of frames that does not fit, or has lost a frame")
def test_frames_behind_a_cache_are_answered_as_in_the_whole_clip_and_beyond_what_it_holds_with_nan():
    network, parts = video(**CAUSAL), []
    cache = networks.frame_cache(network, 2, 100, 8, 4)
    assert cache.slots == 2 and cache.frames.shape == (2, 2, 8, 4, 1)
    for n in range(5):
        answer, cache = goes_on(network, params_of("causal"), CLIPS[:, n : n + 1], T[:, n : n + 1], cache)
        parts.append(answer)
    np.testing.assert_allclose(np.concatenate(parts, 1), run("causal", CLIPS), atol=1e-4)
    np.testing.assert_array_equal(cache.frames, CLIPS[:, -2:])
    small = networks.frame_cache(network, 2, 1, 8, 4)
    lost = networks.FrameCache(small.layers, np.array([1, 2], np.int32), small.frames)
    answer, _ = goes_on(network, params_of("causal"), CLIPS[:, :1], T[:, :1], lost)
    assert np.isfinite(answer[0]).all() and np.isnan(answer[1]).all()


def traced(*inputs, **changes):
    return lambda: jax.eval_shape(
        lambda: networks.init(video(**changes), jax.random.key(0), *(inputs or (CLIPS, T, LABEL)))
    )


CACHE = networks.frame_cache(video(**CAUSAL), 2, 4, 8, 4)
NARROW = networks.frame_cache(video(**CAUSAL), 2, 4, 8, 4, channels=3)

test_clips_fields_and_conditions_that_do_not_fit_are_refused = refusals(
    (traced(CLIPS[:, 0], T, LABEL), r"clips are \(batch, frames, height, width, channels\)"),
    (traced(CLIPS[:, :, :3], T, LABEL), r"multiples of 2 \(downsampling\)"),
    (traced(along_time="casual"), "did you mean 'causal'"),
    (traced(window=2), "window and previous are for along_time = 'causal', and here it is 'factorised'"),
    (traced(previous=1, along_time="full"), "window and previous are for along_time = 'causal'"),
    (traced(**CAUSAL | {"previous": -1}), "previous = -1"),
    (traced(text_channels=4), "a VideoUNet is told a label alone"),
    (traced(heads=4), "into even parts"),
    (traced(along_time="full", heads=6), "head size of at least 6"),
    (lambda: networks.frame_cache(video(), 2, 4, 8, 4), "along_time = 'factorised' lets frames see later ones"),
    (lambda: networks.frame_cache(video(**CAUSAL), 2, 4, 8, 5), r"must be multiples of 2 \(downsampling\)"),
    (traced(CLIPS, T, LABEL, networks.History(CLIPS)), "a history was given to a network that reads no previous"),
    (traced(CLIPS, T, LABEL, networks.History(CLIPS[:, :2]), **CAUSAL), "the frames of the history have shape"),
    (traced(CLIPS, T, LABEL, networks.History(CLIPS), CACHE, **CAUSAL), "leave out the history"),
    (traced(CLIPS, T, LABEL, NARROW, **CAUSAL), "the frames of the cache have shape"),
    (traced(CLIPS[:1], T[:1], LABEL[:1], CACHE, **CAUSAL), "the cache is of 4 layers, 2 clips and 8 tokens"),
)
