"""Clips: what each kind of attention lets a frame see, a time of each frame, and a cache that answers as whole clips
do.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import video_transformer
from gendiff.networks.layers.embeddings import grid_positions
from tests.networks.rig import apply, random_params
from tests.quickly import in_numpy, quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

RNG = np.random.default_rng(0)
CLIPS = RNG.normal(size=(2, 6, 4, 4, 1)).astype(np.float32)  # 2 × 2 tokens of a frame
T = np.array([20.0, 700.0], np.float32)
BY_FRAME = RNG.uniform(0, 1000, size=(2, 6)).astype(np.float32)
LABEL = np.array([3, -1], np.int32)


def video(**changes):
    return networks.VideoTransformer(
        **({"patch": 2, "width": 12, "depth": 1, "heads": 2, "expansion": 2, "num_classes": 5} | changes)
    )


@functools.cache
def params_of(depth=1):
    """They depend on the depth alone."""
    return random_params(video(depth=depth), CLIPS, T, LABEL)


def run(network, x, t, label=LABEL):
    return np.asarray(apply(networks.pure(network), params_of(network.depth), x, t, label))


@functools.partial(quickly, static_argnums=0)
def slopes(network, params, x, weight):
    """The gradient by x (b, f, h, w, c) of the outputs times a weight."""
    return jax.grad(lambda x: jnp.sum(weight * networks.pure(network)(params, x, T, LABEL)))(x)


def looks_at(network, frame, params=None):
    """Which frames, and which of their 2 × 2 patches, the first patch of a frame depends on (f, 2, 2)."""
    weight = np.zeros_like(CLIPS)
    weight[:, frame, :2, :2] = RNG.normal(size=(2, 2, 2, 1))
    slope = np.abs(np.asarray(slopes(network, params or params_of(network.depth), CLIPS, weight)))
    return slope.reshape(2, 6, 2, 2, 2, 2).max((0, 3, 5)) > 0


# What a frame sees.

BLOCKS = {"attention": "causal", "block": 2}


def test_with_full_attention_the_order_of_frames_rows_and_columns_matters():
    full = run(video(), CLIPS, T)
    for axis in (1, 2, 3):
        patchwise = np.roll(CLIPS, 1 if axis == 1 else 2, axis)
        assert np.abs(np.roll(run(video(), patchwise, T), -1 if axis == 1 else -2, axis) - full).max() > 1e-3


@table("unchanged", [0, 1])
def test_factorised_blocks_look_inside_of_a_frame_and_then_along_time_at_one_place(unchanged):
    """The other block is made the identity. Attention by reshaping equals attention under the matching mask: see
    test_transformer.
    """
    network, params = video(attention="factorised", depth=2), params_of(2)
    other = f"block_{1 - unchanged}"
    params = params | {other: params[other] | {"modulation": jax.tree.map(jnp.zeros_like, params[other]["modulation"])}}
    expected = np.zeros((6, 2, 2), bool)
    if unchanged == 0:
        expected[3] = True
    else:
        expected[:, 0, 0] = True
    np.testing.assert_array_equal(looks_at(network, 3, params), expected)
    assert looks_at(network, 3).all()


def test_a_causal_output_has_no_gradient_by_later_frames_nor_by_those_before_the_window():
    """Frames in blocks of two, and one layer, for each further one looks back further."""
    network = video(**BLOCKS, window=4)
    for frame, visible in ((0, (0, 1)), (3, (0, 1, 2, 3)), (4, (2, 3, 4, 5))):
        patches = looks_at(network, frame)
        for frames in (patches.all((1, 2)), patches.any((1, 2))):
            np.testing.assert_array_equal(frames, np.isin(np.arange(6), visible))


def test_a_rule_of_frames_is_by_blocks_and_sees_nothing_that_is_empty():
    numbers = np.array([[-1, 0, 1, 2, 3, 4]])
    visible = np.asarray(video_transformer.SeenFrames(2, 4)(numbers[:, 1:], numbers))[0, 0].astype(int)
    np.testing.assert_array_equal(visible, [[0, 1, 1, 0, 0, 0]] * 2 + [[0, 1, 1, 1, 1, 0]] * 2 + [[0, 0, 0, 1, 1, 1]])


# Time, label, pictures.


def test_times_of_frames_that_are_equal_are_the_time_of_the_clip_and_a_label_is_of_the_clip():
    plain = run(video(), CLIPS, T)
    np.testing.assert_allclose(run(video(), CLIPS, np.repeat(T[:, None], 6, 1)), plain, atol=1e-5)
    for t in (T, BY_FRAME):
        other = run(video(), CLIPS, t, LABEL[::-1].copy())
        assert np.abs(other - run(video(), CLIPS, t)).max((2, 3, 4)).min() > 1e-3


def test_a_time_belongs_to_its_own_frame():
    network = video(**BLOCKS)
    before, after = (
        run(network, CLIPS, t) for t in (BY_FRAME, BY_FRAME + 300 * (np.arange(6) == 4)[None].astype(np.float32))
    )
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    moved = np.abs(before - after).max((0, 2, 3, 4))
    assert moved[4] > 3 * moved[5] > 0  # frame 5 hears of it through attention


def test_a_clip_of_one_frame_is_a_picture_to_the_same_parameters():
    network = networks.DiT(patch=2, width=12, depth=1, heads=2, expansion=2, num_classes=5, rotary_channels=(2, 2, 2))
    picture = CLIPS[:, 0]
    expected = apply(networks.pure(network), params_of(), picture, T, LABEL)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(run(video(), picture[:, None], T)[:, 0], expected, atol=1e-6)
    for attention in ("full", "causal"):
        assert video(attention=attention)._mask((1, 2, 2), None) is None  # which is all that tells one from the other


def test_rotary_channels_are_shared_as_equally_as_can_be():
    def channels(size):
        return networks.VideoTransformer(width=size, heads=1)._rotary_channels()

    assert [channels(size) for size in (6, 8, 16, 32, 64)] == [
        (2, 2, 2),
        (4, 2, 2),
        (4, 6, 6),
        (12, 10, 10),
        (20, 22, 22),
    ]


def test_added_positions_are_those_of_row_and_column_alike_in_every_frame():
    """Blocks and the output's modulation are made nothing, so that NumPy tells the rest."""
    network, params = video(added_positions=True), params_of()
    nothing = functools.partial(jax.tree.map, jnp.zeros_like)
    params = params | {"output_modulation": nothing(params["output_modulation"])}
    params["block_0"] = params["block_0"] | {"modulation": nothing(params["block_0"]["modulation"])}
    tokens = CLIPS.reshape(2, 6, 2, 2, 2, 2).swapaxes(3, 4).reshape(2, 6, 4, 4) @ np.asarray(params["input"]["kernel"])
    tokens += np.asarray(params["input"]["bias"])
    tokens = tokens + grid_positions(2, 2, 12)
    normal = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-6)
    expected = normal @ np.asarray(params["output"]["kernel"]) + np.asarray(params["output"]["bias"])
    expected = expected.reshape(2, 6, 2, 2, 2, 2).swapaxes(3, 4).reshape(CLIPS.shape)
    np.testing.assert_allclose(apply(networks.pure(network), params, CLIPS, T, LABEL), expected, atol=1e-4)


def test_the_base_of_rotary_positions_is_that_of_its_frequencies():
    network = video(rotary_base=10.0)
    # heads of 6 channels: each coordinate turns one pair
    assert np.abs(run(network, CLIPS, T) - run(video(), CLIPS, T)).max() < 1e-6
    wide = {"width": 24, "heads": 1}
    params = random_params(video(**wide), CLIPS, T, LABEL)
    answers = [
        apply(networks.pure(video(**wide, rotary_base=base)), params, CLIPS, T, LABEL) for base in (10.0, 10_000.0)
    ]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


# The cache.


@functools.partial(in_numpy, static_argnums=0)
def goes_on(network, params, x, t, cache):
    return networks.pure(network)(params, x, t, cache, LABEL)


CASES = {
    "all": (1, None, 4, (2, 2, 2)),
    "a ring": (2, 4, 2, (2, 2, 2)),
    "several blocks at once": (2, 4, 2, (4, 2)),
    "no past": (2, 2, 0, (2, 2)),
}
"""Name -> depth, window, slots, frames of each call."""


@pytest.mark.parametrize("name", some_slow(CASES, ["several blocks at once", "no past"]))
def test_frames_behind_a_cache_are_answered_as_in_the_whole_clip(name):
    depth, window, slots, calls = CASES[name]
    network = video(**BLOCKS, window=window, depth=depth)
    full = run(network, CLIPS, BY_FRAME)
    cache, parts, start = networks.frame_cache(network, 2, 4, 4, 4), [], 0
    assert cache.slots == slots
    for frames in calls:
        piece = slice(start, start + frames)
        answer, cache = goes_on(network, params_of(depth), CLIPS[:, piece], BY_FRAME[:, piece], cache)
        parts.append(answer)
        start += frames
    np.testing.assert_allclose(np.concatenate(parts, 1), full[:, :start], atol=1e-5)
    np.testing.assert_array_equal(cache.number, [start, start])


@pytest.mark.fault("clips: a cache of frames that does not fit, or has lost a frame")
def test_a_cache_of_a_window_is_of_one_size_for_clips_of_any_length_and_one_without_answers_nan_beyond_it():
    """Clips of different lengths; that of the second sample is lost, and the first one does not notice."""
    ring, full = video(**BLOCKS, window=4, depth=2), video(**BLOCKS)
    assert networks.frame_cache(ring, 2, 10**9, 4, 4).slots == 2
    for network, lost in ((ring, False), (full, True)):
        cache = networks.frame_cache(network, 2, 4, 4, 4)
        cache = networks.FrameCache(cache.layers, np.array([2, 40], np.int32))
        answer, after = goes_on(network, params_of(network.depth), CLIPS[:, :2], BY_FRAME[:, :2], cache)
        assert np.isfinite(answer[0]).all() and np.isnan(answer[1]).all() == lost
        np.testing.assert_array_equal(after.number, [4, 42])


@pytest.mark.slow
def test_the_program_with_a_cache_is_of_one_dtype_and_is_computed_again_where_that_is_wanted():
    network = video(**BLOCKS, window=4, remat=True)
    cache = networks.frame_cache(network, 2, 4, 4, 4)

    def loss(params):
        return jnp.sum(networks.pure(network)(params, CLIPS[:, :2], T, LABEL, cache)[0])

    assert jax.tree.structure(jax.eval_shape(jax.grad(loss), params_of())) == jax.tree.structure(params_of())
    half = networks.frame_cache(network, 2, 4, 4, 4, jnp.bfloat16)
    answer, unchanged = jax.eval_shape(
        networks.pure(video(**BLOCKS, window=4)), params_of(), CLIPS[:, :2], T, LABEL, half
    )
    assert answer.dtype == jnp.float32 and jax.tree.map(lambda leaf: leaf.dtype, unchanged) == jax.tree.map(
        lambda leaf: leaf.dtype, half
    )
    with jax.enable_x64(True):
        wide = trees.cast((params_of(), CLIPS, BY_FRAME), jnp.float64)
        assert "f32[" not in str(jax.make_jaxpr(networks.pure(video()))(*wide, LABEL))


def traced(*inputs, **changes):
    """Called with shapes."""
    return lambda: jax.eval_shape(
        lambda: networks.init(video(**changes), jax.random.key(0), *(inputs or (CLIPS, T, LABEL)))
    )


def cached(x, cache, **changes):
    return lambda: jax.eval_shape(
        lambda: networks.pure(video(**changes))(params_of(), x, T[: len(x)], LABEL[: len(x)], cache)
    )


CACHE = networks.frame_cache(video(**BLOCKS), 2, 4, 4, 4)
FULL = networks.FrameCache(CACHE.layers, np.array([2, 6], np.int32))

test_clips_fields_and_caches_that_do_not_fit_are_refused = pytest.mark.fault(
    "clips: a cache of frames that does not fit, or has lost a frame"
)(
    refusals(
        (traced(CLIPS[:, 0], T), r"x has shape \(2, 4, 4, 1\): clips are \(batch, frames, height, width, channels\)"),
        (traced(CLIPS[:, :, :3], T), r"multiples of 2 \(patch\)"),
        (traced(CLIPS.astype(int), T), "x must be a floating array", TypeError),
        (
            traced(CLIPS, BY_FRAME[:, :5]),
            r"t has shape \(2, 5\): one time per clip, \(2,\), or one per frame, \(2, 6\)",
        ),
        (traced(attention="casual"), "did you mean 'causal'"),
        (traced(block=2), "block and window are for attention = 'causal', and here it is 'full'"),
        (traced(window=2, attention="factorised"), "block and window are for attention = 'causal'"),
        (traced(**BLOCKS, window=3), "window = 3 must be a multiple of block = 2"),
        (traced(**BLOCKS, window=1), r"window = 1 is outside \[2"),
        (traced(attention="factorised"), "depth = 1 has no block along time"),
        (traced(width=8), "head size of at least 6"),
        (traced(width=18, heads=3, added_positions=True), "width = 18 must be a multiple of 4"),
        (traced(rotary_base=1.0), "base = 1 is outside"),
        (traced(rotary_channels=(2, 4)), "one number for each of 3 coordinates"),
        (traced(num_classes=0), "num_classes = 0"),
        (traced(CLIPS, T), "has 5 classes and needs a label"),
        (lambda: networks.frame_cache(video(), 2, 4, 4, 4), "attention = 'full' lets frames see later ones"),
        (lambda: networks.frame_cache(video(**BLOCKS), 2, 0, 4, 4), "frames = 0"),
        (lambda: networks.frame_cache(video(**BLOCKS), 2, 4, 4, 5), r"must be multiples of 2 \(patch\)"),
        (cached(CLIPS, CACHE), "a frame cache was given to a network that keeps none"),
        (cached(CLIPS[:, :3], CACHE, **BLOCKS), "3 frames are no whole blocks of 2"),
        (cached(CLIPS[:1, :2], CACHE, **BLOCKS), "the cache is of 1 layers, 2 clips and 4 tokens"),
        (cached(CLIPS[:, :2], FULL, **BLOCKS), "the number of earlier frames .* is outside"),
    )
)
