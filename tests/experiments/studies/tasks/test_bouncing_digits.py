"""Moving clips: where the sprites are is known, and each clip is a function of its own number."""

import itertools

import numpy as np

from experiments.tasks import bouncing_digits
from gendiff.metrics import motion
from tests.refusals import refusals
from tests.tables import table

SPRITES = np.random.default_rng(0).uniform(-1, 1, (6, 4, 4, 2)).astype(np.float32)
SPRITES[:, 1, 2] = -1  # a hole
LABELS = np.array([3, 1, 4, 1, 5, 9])
MANY = np.arange(200)
KINDS = table("subpixel", [False, True])
FIRST = [[1, 5, 1], [[13, 10], [15, 4], [8, 14]], [[-1, -2], [-2, 1], [1, 0]]]
"""Labels, second positions and velocities of three clips."""


def test_a_whole_clip_is_the_sprite_rolled_to_its_positions():
    clips = bouncing_digits.moving_clips(SPRITES, LABELS, 0, MANY, frames=5, size=9, fastest=3)
    assert clips.clips.shape == (200, 5, 9, 9, 2) and clips.clips.dtype == np.float32 and clips.labels.dtype == np.int32
    canvas = np.full((6, 9, 9, 2), -1, np.float32)
    canvas[:, :4, :4] = SPRITES
    row = [int(np.argmax([np.isin(sprite, clip[0]).all() for sprite in SPRITES])) for clip in clips.clips]
    np.testing.assert_array_equal(clips.labels, LABELS[row])
    for i, frame in itertools.product(range(200), range(5)):
        np.testing.assert_array_equal(
            clips.clips[i, frame], np.roll(canvas[row[i]], clips.positions[i, frame].astype(int), (0, 1))
        )


@KINDS
def test_positions_move_by_the_velocity_on_the_torus(subpixel):
    clips = bouncing_digits.moving_clips(SPRITES, LABELS, 3, MANY, size=9, fastest=4, subpixel=subpixel)
    assert clips.positions.min() >= 0 and clips.positions.max() < 9 and np.abs(clips.velocities).max() <= 4
    turns = (clips.positions - clips.positions[:, :1] - clips.velocities[:, None] * np.arange(8)[:, None]) / 9
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-12)
    assert np.all(clips.positions == np.rint(clips.positions)) != subpixel


def test_every_whole_velocity_but_none_at_all_is_equally_frequent_and_so_is_every_sprite_and_place():
    clips = bouncing_digits.moving_clips(SPRITES, np.arange(6), 0, np.arange(4000), frames=1, size=5, fastest=1)
    full = clips.positions[:, 0].astype(int)
    counted = (
        5 * full[:, 0] + full[:, 1],
        clips.labels,
        (3 * (clips.velocities[:, 0] + 1) + clips.velocities[:, 1] + 1).astype(int),
    )
    for values, kinds in zip(counted, (25, 6, 9), strict=True):
        count = np.bincount(values, minlength=kinds)
        if kinds == 9:
            assert count[4] == 0  # it would stand still
            count = np.delete(count, 4)
        assert np.abs(count - count.mean()).max() < 4 * np.sqrt(count.mean())


@KINDS
def test_a_clip_is_a_function_of_seed_and_index_alone(subpixel):
    def both(seed, index):
        draws = (bouncing_digits.moving_clips, bouncing_digits.bouncing_clips)
        return (draw(SPRITES, LABELS, seed, index, frames=3, size=8, subpixel=subpixel) for draw in draws)

    order = np.array([19, 3, 3, 17])
    for first_clips, again, other in zip(both(0, MANY[:20]), both(0, order), both(1, order), strict=True):
        for full, part in zip(first_clips, again, strict=True):
            np.testing.assert_array_equal(full[order], part)
        assert not np.array_equal(again.clips, other.clips)
    assert bouncing_digits.moving_clips(SPRITES, LABELS, 0, MANY[:0]).clips.shape == (0, 8, 16, 16, 2)


def test_the_first_clips_are_frozen():
    """A change of these numbers is another data set."""
    clips = bouncing_digits.moving_clips(SPRITES, LABELS, 7, np.arange(3))
    assert [clips.labels.tolist(), clips.positions[:, 1].tolist(), clips.velocities.tolist()] == FIRST


def test_between_pixels_values_stay_in_range_and_sum_and_centre_of_mass_are_those_of_the_sprite():
    clips = bouncing_digits.moving_clips(SPRITES[:1], LABELS[:1], 0, MANY, frames=2, size=12, subpixel=True)
    assert clips.clips.min() >= -1 and clips.clips.max() <= 1
    mass, centre = clips.clips.astype(np.float64).sum(-1) + 2, SPRITES[0].astype(np.float64).sum(-1) + 2
    np.testing.assert_allclose(mass.sum((2, 3)), centre.sum(), rtol=1e-6)
    inside = np.all(clips.positions < 7, axis=2)  # of 12, with 4 pixels of the sprite and one more: not across the seam
    for axis in range(2):
        middle = mass.sum(3 - axis) @ np.arange(12) / centre.sum()
        expected = clips.positions[..., axis] + centre.sum(1 - axis) @ np.arange(4) / centre.sum()
        np.testing.assert_allclose(middle[inside], expected[inside], atol=1e-5)
    assert inside.mean() > 0.2


def test_phase_correlation_reads_the_velocities_back():
    full = bouncing_digits.moving_clips(SPRITES, LABELS, 0, MANY[:50])
    assert motion.displacement_error(full.clips, full.velocities).max() < 1e-6
    smooth = np.ones((1, 8, 8, 1), np.float32) * np.hanning(10)[1:-1, None, None].astype(np.float32)
    smooth = 2 * smooth * smooth.transpose(0, 2, 1, 3) - 1
    between = bouncing_digits.moving_clips(smooth, LABELS[:1], 0, MANY[:50], subpixel=True)
    assert motion.displacement_error(between.clips, between.velocities).max() < 0.15


@KINDS
def test_bouncing_sprites_stay_inside_and_move_by_their_velocity_or_back_from_a_wall(subpixel):
    clips = bouncing_digits.bouncing_clips(
        SPRITES, LABELS, 0, MANY[:60], count=3, frames=20, size=9, fastest=3, subpixel=subpixel
    )
    assert clips.positions.shape == (60, 20, 3, 2) and clips.positions.min() >= 0 and clips.positions.max() <= 5
    steps, speed = np.abs(np.diff(clips.positions, axis=1)), np.abs(clips.velocities)[:, None]
    assert np.all(steps <= speed + 1e-12)
    # no wall within reach
    free = np.all((clips.positions[:, :-1] >= speed) & (clips.positions[:, :-1] <= 5 - speed), axis=-1)
    np.testing.assert_allclose(steps[free], np.broadcast_to(speed, steps.shape)[free], atol=1e-12)
    assert np.ptp(clips.positions, axis=1).max() > 4.5 and free.mean() > 0.1
    if not subpixel:
        assert set(np.unique(clips.positions)) == {0, 1, 2, 3, 4, 5}


def test_the_last_sprite_is_in_front_and_its_holes_are_transparent():
    clips = bouncing_digits.bouncing_clips(SPRITES, LABELS, 0, MANY, frames=4, size=9)
    row = LABELS.tolist()
    hidden = 0
    for i, frame in itertools.product(range(200), range(4)):
        expected, visible = np.full((9, 9, 2), -1, np.float32), []
        for m in range(2):
            if clips.labels[i, m] == 1:  # two sprites have this label
                break
            sprite, (down, right) = SPRITES[row.index(clips.labels[i, m])], clips.positions[i, frame, m].astype(int)
            mask = np.zeros((9, 9), bool)
            mask[down : down + 4, right : right + 4] = np.any(sprite != -1, axis=-1)
            expected[mask] = sprite[np.any(sprite != -1, axis=-1)]
            visible.append(mask)
        else:
            np.testing.assert_array_equal(clips.clips[i, frame], expected)
            share = (visible[0] & ~visible[1]).sum() / 15
            np.testing.assert_allclose(clips.visible[i, frame], [share, 1])
            hidden += share < 0.8
    assert hidden > 50


def test_one_more_sprite_leaves_the_others_where_they_are():
    two, three = (
        bouncing_digits.bouncing_clips(SPRITES, LABELS, 0, MANY, count=count, frames=4, size=9) for count in (2, 3)
    )
    np.testing.assert_array_equal(two.positions, three.positions[:, :, :2])
    np.testing.assert_array_equal(two.labels, three.labels[:, :2])


def test_a_bar_hides_whatever_is_behind_it():
    plain, barred = (
        bouncing_digits.bouncing_clips(SPRITES, LABELS, 0, MANY, count=1, size=9, bar=bar, bar_value=0.5)
        for bar in (None, (3, 4))
    )
    assert np.all(barred.clips[:, :, :, 3:7] == 0.5)
    rest = [0, 1, 2, 7, 8]
    np.testing.assert_array_equal(barred.clips[..., rest, :], plain.clips[..., rest, :])
    assert np.all(plain.visible == 1)
    behind = barred.positions[:, :, 0, 1] == 3
    assert np.all(barred.visible[behind] == 0) and behind.any()
    assert barred.visible.max() < 1  # on no side is there room for a whole sprite


@table("background", [-1.0, 1.0])
def test_centred_pictures_do_not_tell_where_a_sprite_was(background):
    sprites = -background * SPRITES
    clips = bouncing_digits.moving_clips(sprites, LABELS, 0, MANY, frames=3, size=11, background=background)
    frames = clips.clips.reshape(-1, 11, 11, 2)
    centres = bouncing_digits.centred(frames, 6, background=background).reshape(200, 3, 6, 6, 2)
    np.testing.assert_array_equal(centres, np.broadcast_to(centres[:, :1], centres.shape))
    mass = np.abs(centres - background)
    # nothing is cut off
    np.testing.assert_allclose(mass.sum((2, 3, 4)), np.abs(clips.clips - background).sum((2, 3, 4)), rtol=1e-5)
    assert len(np.unique(centres[:, 0].reshape(200, -1), axis=0)) == len(SPRITES)


def draw(*, function=bouncing_digits.moving_clips, sprites=SPRITES, labels=LABELS, seed=0, index=MANY[:2], **options):
    return function(sprites, labels, seed, index, **options)


test_what_cannot_move_is_refused = refusals(
    (lambda: draw(sprites=SPRITES[0]), r"sprites must be square pictures \(k, s, s, c\)"),
    (lambda: draw(sprites=SPRITES[:, :3]), "sprites must be square"),
    (lambda: draw(sprites=SPRITES[:0], labels=LABELS[:0]), "at least one, got shape"),
    (lambda: draw(sprites=2 * SPRITES), "sprites = "),
    (lambda: draw(sprites=np.zeros((6, 4, 4, 1), np.uint8)), "sprites must be a floating array", TypeError),
    (lambda: draw(labels=LABELS[:5]), "6 sprites need"),
    (lambda: draw(seed=-1), "seed = -1"),
    (lambda: draw(index=np.array([-2])), "index holds -2"),
    (lambda: draw(frames=0), "frames = 0"),
    (lambda: draw(size=4), "size = 4"),
    (lambda: draw(size=8, fastest=4), r"fastest = 4 is outside \[1, 3\]"),
    (lambda: draw(background=-2.0), "background = -2"),
    (lambda: draw(function=bouncing_digits.bouncing_clips, count=0), "count = 0"),
    (lambda: draw(function=bouncing_digits.bouncing_clips, size=6, fastest=3), "fastest = 3"),
    (lambda: draw(function=bouncing_digits.bouncing_clips, bar=(16, 1)), r"bar\[0\] = 16"),
    (lambda: draw(function=bouncing_digits.bouncing_clips, bar=(10, 7)), r"bar\[1\] = 7"),
    (lambda: draw(function=bouncing_digits.bouncing_clips, bar=(1, 1), bar_value=2.0), "bar_value = 2"),
    (lambda: bouncing_digits.centred(SPRITES[0], 2), r"pictures must be \(n, h, w, c\)"),
    (lambda: bouncing_digits.centred(SPRITES, 5), "size = 5"),
)
