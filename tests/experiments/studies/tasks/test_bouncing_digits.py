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
    drawn = bouncing_digits.moving_clips(SPRITES, LABELS, 0, MANY, frames=5, size=9, fastest=3)
    assert drawn.clips.shape == (200, 5, 9, 9, 2) and drawn.clips.dtype == np.float32 and drawn.labels.dtype == np.int32
    canvas = np.full((6, 9, 9, 2), -1, np.float32)
    canvas[:, :4, :4] = SPRITES
    row = [int(np.argmax([np.isin(sprite, clip[0]).all() for sprite in SPRITES])) for clip in drawn.clips]
    np.testing.assert_array_equal(drawn.labels, LABELS[row])
    for i, frame in itertools.product(range(200), range(5)):
        np.testing.assert_array_equal(
            drawn.clips[i, frame], np.roll(canvas[row[i]], drawn.positions[i, frame].astype(int), (0, 1))
        )


@KINDS
def test_positions_move_by_the_velocity_on_the_torus(subpixel):
    drawn = bouncing_digits.moving_clips(SPRITES, LABELS, 3, MANY, size=9, fastest=4, subpixel=subpixel)
    assert drawn.positions.min() >= 0 and drawn.positions.max() < 9 and np.abs(drawn.velocities).max() <= 4
    turns = (drawn.positions - drawn.positions[:, :1] - drawn.velocities[:, None] * np.arange(8)[:, None]) / 9
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-12)
    assert np.all(drawn.positions == np.rint(drawn.positions)) != subpixel


def test_every_whole_velocity_but_none_at_all_is_equally_frequent_and_so_is_every_sprite_and_place():
    drawn = bouncing_digits.moving_clips(SPRITES, np.arange(6), 0, np.arange(4000), frames=1, size=5, fastest=1)
    whole = drawn.positions[:, 0].astype(int)
    counted = (
        5 * whole[:, 0] + whole[:, 1],
        drawn.labels,
        (3 * (drawn.velocities[:, 0] + 1) + drawn.velocities[:, 1] + 1).astype(int),
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
    for every, again, other in zip(both(0, MANY[:20]), both(0, order), both(1, order), strict=True):
        for whole, part in zip(every, again, strict=True):
            np.testing.assert_array_equal(whole[order], part)
        assert not np.array_equal(again.clips, other.clips)
    assert bouncing_digits.moving_clips(SPRITES, LABELS, 0, MANY[:0]).clips.shape == (0, 8, 16, 16, 2)


def test_the_first_clips_are_frozen():
    """A change of these numbers is another data set."""
    drawn = bouncing_digits.moving_clips(SPRITES, LABELS, 7, np.arange(3))
    assert [drawn.labels.tolist(), drawn.positions[:, 1].tolist(), drawn.velocities.tolist()] == FIRST


def test_between_pixels_values_stay_in_range_and_sum_and_centre_of_mass_are_those_of_the_sprite():
    drawn = bouncing_digits.moving_clips(SPRITES[:1], LABELS[:1], 0, MANY, frames=2, size=12, subpixel=True)
    assert drawn.clips.min() >= -1 and drawn.clips.max() <= 1
    mass, own = drawn.clips.astype(np.float64).sum(-1) + 2, SPRITES[0].astype(np.float64).sum(-1) + 2
    np.testing.assert_allclose(mass.sum((2, 3)), own.sum(), rtol=1e-6)
    inside = np.all(drawn.positions < 7, axis=2)  # of 12, with 4 pixels of the sprite and one more: not across the seam
    for axis in range(2):
        middle = mass.sum(3 - axis) @ np.arange(12) / own.sum()
        wanted = drawn.positions[..., axis] + own.sum(1 - axis) @ np.arange(4) / own.sum()
        np.testing.assert_allclose(middle[inside], wanted[inside], atol=1e-5)
    assert inside.mean() > 0.2


def test_phase_correlation_reads_the_velocities_back():
    whole = bouncing_digits.moving_clips(SPRITES, LABELS, 0, MANY[:50])
    assert motion.displacement_error(whole.clips, whole.velocities).max() < 1e-6
    smooth = np.ones((1, 8, 8, 1), np.float32) * np.hanning(10)[1:-1, None, None].astype(np.float32)
    smooth = 2 * smooth * smooth.transpose(0, 2, 1, 3) - 1
    between = bouncing_digits.moving_clips(smooth, LABELS[:1], 0, MANY[:50], subpixel=True)
    assert motion.displacement_error(between.clips, between.velocities).max() < 0.15


@KINDS
def test_bouncing_sprites_stay_inside_and_move_by_their_velocity_or_back_from_a_wall(subpixel):
    drawn = bouncing_digits.bouncing_clips(
        SPRITES, LABELS, 0, MANY[:60], count=3, frames=20, size=9, fastest=3, subpixel=subpixel
    )
    assert drawn.positions.shape == (60, 20, 3, 2) and drawn.positions.min() >= 0 and drawn.positions.max() <= 5
    steps, speed = np.abs(np.diff(drawn.positions, axis=1)), np.abs(drawn.velocities)[:, None]
    assert np.all(steps <= speed + 1e-12)
    # no wall within reach
    free = np.all((drawn.positions[:, :-1] >= speed) & (drawn.positions[:, :-1] <= 5 - speed), axis=-1)
    np.testing.assert_allclose(steps[free], np.broadcast_to(speed, steps.shape)[free], atol=1e-12)
    assert np.ptp(drawn.positions, axis=1).max() > 4.5 and free.mean() > 0.1
    if not subpixel:
        assert set(np.unique(drawn.positions)) == {0, 1, 2, 3, 4, 5}


def test_the_last_sprite_is_in_front_and_its_holes_are_transparent():
    drawn = bouncing_digits.bouncing_clips(SPRITES, LABELS, 0, MANY, frames=4, size=9)
    row = LABELS.tolist()
    hidden = 0
    for i, frame in itertools.product(range(200), range(4)):
        expected, shown = np.full((9, 9, 2), -1, np.float32), []
        for m in range(2):
            if drawn.labels[i, m] == 1:  # two sprites have this label
                break
            sprite, (down, right) = SPRITES[row.index(drawn.labels[i, m])], drawn.positions[i, frame, m].astype(int)
            mask = np.zeros((9, 9), bool)
            mask[down : down + 4, right : right + 4] = np.any(sprite != -1, axis=-1)
            expected[mask] = sprite[np.any(sprite != -1, axis=-1)]
            shown.append(mask)
        else:
            np.testing.assert_array_equal(drawn.clips[i, frame], expected)
            share = (shown[0] & ~shown[1]).sum() / 15
            np.testing.assert_allclose(drawn.visible[i, frame], [share, 1])
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
    drawn = bouncing_digits.moving_clips(sprites, LABELS, 0, MANY, frames=3, size=11, background=background)
    frames = drawn.clips.reshape(-1, 11, 11, 2)
    found = bouncing_digits.centred(frames, 6, background=background).reshape(200, 3, 6, 6, 2)
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], found.shape))
    mass = np.abs(found - background)
    # nothing is cut off
    np.testing.assert_allclose(mass.sum((2, 3, 4)), np.abs(drawn.clips - background).sum((2, 3, 4)), rtol=1e-5)
    assert len(np.unique(found[:, 0].reshape(200, -1), axis=0)) == len(SPRITES)


def draw(*, of=bouncing_digits.moving_clips, sprites=SPRITES, labels=LABELS, seed=0, index=MANY[:2], **options):
    return of(sprites, labels, seed, index, **options)


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
    (lambda: draw(of=bouncing_digits.bouncing_clips, count=0), "count = 0"),
    (lambda: draw(of=bouncing_digits.bouncing_clips, size=6, fastest=3), "fastest = 3"),
    (lambda: draw(of=bouncing_digits.bouncing_clips, bar=(16, 1)), r"bar\[0\] = 16"),
    (lambda: draw(of=bouncing_digits.bouncing_clips, bar=(10, 7)), r"bar\[1\] = 7"),
    (lambda: draw(of=bouncing_digits.bouncing_clips, bar=(1, 1), bar_value=2.0), "bar_value = 2"),
    (lambda: bouncing_digits.centred(SPRITES[0], 2), r"pictures must be \(n, h, w, c\)"),
    (lambda: bouncing_digits.centred(SPRITES, 5), "size = 5"),
)
