"""Motion: exact on shifts of a torus, far off for frames in another order, and no way out for frames without a
motion.
"""

import numpy as np

from gendiff.metrics import features, frechet, motion
from tests.metrics.rows import rng, uniform
from tests.refusals import refusals
from tests.tables import table


def rolled(first, moves):
    """Clips whose frame t is the first one after the first t moves (n, g, 2), by whole pixels."""
    paths = np.concatenate([np.zeros((len(first), 1, 2), int), np.cumsum(moves, axis=1)], axis=1)
    return np.stack(
        [
            [np.roll(frame, tuple(position), (0, 1)) for position in path]
            for frame, path in zip(first, paths, strict=True)
        ]
    )


def shifted(first, velocities, frames):
    """Clips whose frame t is the first one, each of its waves moved by t velocities (n, 2); without the highest
    frequency of even sides.
    """
    waves = [np.fft.fftfreq(side) for side in first.shape[1:3]]
    waves_in_range = [(np.abs(wave) < 0.5).astype(float) for wave in waves]
    phase = np.array([waves[0][:, None] * v[0] + waves[1] * v[1] for v in velocities])
    turns = np.exp(-2j * np.pi * phase[:, None] * np.arange(frames)[:, None, None]) * (
        waves_in_range[0][:, None] * waves_in_range[1]
    )
    return np.fft.ifft2(np.fft.fft2(first, axes=(1, 2))[:, None] * turns[..., None], axes=(2, 3)).real


def constant(velocities, moves):
    return np.repeat(np.asarray(velocities)[:, None], moves, axis=1)


@table("shape", [(9, 16, 16, 1), (9, 7, 12, 3), (9, 3, 5, 2)])
def test_whole_shifts_on_the_torus_are_recovered_exactly(shape):
    first = uniform(0, *shape).astype(np.float32)
    most = [(side - 1) // 2 for side in shape[1:3]]
    moves = np.stack([rng(1).integers(-m, m + 1, (shape[0], 4)) for m in most], -1)
    np.testing.assert_allclose(motion.displacements(rolled(first, moves)), moves, atol=1e-9)


def test_fractions_of_pixels_are_recovered_exactly():
    velocities = uniform(2, 20, 2) * [5, 7]
    clips = shifted(uniform(0, 20, 11, 16, 2), velocities, 4)
    np.testing.assert_allclose(motion.displacements(clips), constant(velocities, 3), atol=1e-9)
    np.testing.assert_allclose(motion.displacement_error(clips, velocities), 0, atol=1e-9)
    np.testing.assert_allclose(motion.displacement_error(clips, velocities + [3, 4]), 5, atol=1e-9)


def test_one_large_set_is_measured_as_its_parts_are(monkeypatch):
    clips = uniform(3, 5, 3, 8, 8, 1)
    full = motion.displacements(clips)
    monkeypatch.setattr(motion, "CHUNK", 400)  # two clips at a time
    np.testing.assert_allclose(motion.displacements(clips), full, atol=1e-12)


def test_a_little_noise_moves_the_answer_a_little():
    first, velocities = np.repeat(np.repeat(uniform(0, 50, 8, 8, 1), 2, axis=1), 2, axis=2), uniform(5, 50, 2) * 3
    clips = shifted(first, velocities, 2)
    noise = clips.std() * 0.2 * rng(1).standard_normal(clips.shape)
    assert motion.displacement_error(clips + noise, velocities).max() < 0.2


def test_without_velocities_it_is_the_deviation_from_a_constant_one_also_across_the_seam_of_the_torus():
    velocities = np.array([[3.75, 0.0], [-0.5, 4.25], [4.5, -4.5]])  # of sides of 9 pixels
    clips = shifted(uniform(0, 3, 9, 9, 1), velocities, 6)
    np.testing.assert_allclose(motion.displacement_error(clips), 0, atol=1e-9)
    stopped = np.concatenate([clips, clips[:, -1:]], axis=1)  # five moves, and one that stands still
    errors = motion.displacement_error(stopped)
    assert errors.shape == (3, 6) and np.all(errors[:, -1] > 3) and np.all(errors[:, :-1] < 1)


def test_frames_in_another_order_are_far_off():
    velocities = rng(0).integers(1, 3, (20, 2))
    clips = rolled(uniform(1, 20, 16, 16, 1), constant(velocities, 7))
    shuffled = np.stack([clip[rng(i).permutation(8)] for i, clip in enumerate(clips)])
    assert (
        motion.displacement_error(clips, velocities).max()
        < 1e-9
        < 2
        < motion.displacement_error(shuffled, velocities).mean()
    )
    assert motion.displacement_error(shuffled).mean() > 2


def test_a_frame_of_one_colour_has_no_displacement_and_the_largest_error():
    clips = np.repeat(uniform(0, 1, 1, 6, 8, 3), 4, axis=1)
    clips[0, 1] = [0.1, 0.2, 0.3]
    np.testing.assert_allclose(motion.displacements(clips)[0], [[np.nan] * 2, [np.nan] * 2, [0, 0]], atol=1e-9)
    # half of the diagonal
    np.testing.assert_allclose(motion.displacement_error(clips, np.zeros((1, 2)))[0], [5, 5, 0], atol=1e-9)
    np.testing.assert_allclose(motion.displacement_error(clips)[0], [5, 5, 0], atol=1e-9)


def test_where_pictures_do_not_tell_the_shortest_displacement_is_taken():
    stripes = np.cos(2 * np.pi * np.arange(12) / 6)  # two periods, and no change downwards
    clips = np.stack([np.broadcast_to(np.roll(stripes, step)[:, None], (8, 12, 1)) for step in (0, 2)])[None]
    np.testing.assert_allclose(motion.displacements(clips)[0, 0], [0, 2], atol=1e-6)


def test_identity_is_kept_where_the_class_stays():
    classes = np.array([[3, 3, 5, 3], [1, 1, 1, 1]])
    np.testing.assert_array_equal(motion.identity_kept(classes), [[1, 1, 0, 1], [1, 1, 1, 1]])
    np.testing.assert_array_equal(motion.identity_kept(classes, np.array([5, 1])), [[0, 0, 1, 0], [1, 1, 1, 1]])
    sharp = np.eye(6)[classes]
    np.testing.assert_array_equal(motion.identity_kept(sharp), motion.identity_kept(classes))
    np.testing.assert_allclose(motion.identity_kept(0.7 * sharp + 0.05)[0], [0.75, 0.75, 0.05, 0.75])
    np.testing.assert_allclose(motion.identity_kept(0.7 * sharp + 0.05, np.array([5, 1]))[0], [0.05, 0.05, 0.75, 0.05])


def test_features_of_clips_are_means_over_frames_and_over_half_differences():
    clips = uniform(0, 3, 4, 5, 6, 2)
    rows = motion.clip_features(clips, features.pixels)
    np.testing.assert_allclose(rows[:, :60], clips.mean(axis=1).reshape(3, 60), atol=1e-12)
    np.testing.assert_allclose(rows[:, 60:], (clips[:, -1] - clips[:, 0]).reshape(3, 60) / 6, atol=1e-12)


def test_the_distance_of_clips_tells_frames_in_another_order_apart_where_single_frames_do_not():
    velocities = constant(rng(4).integers(1, 3, (120, 2)), 4)
    blobs = np.kron(uniform(1, 120, 2, 2, 1), np.ones((1, 4, 4, 1)))  # (120, 8, 8, 1): neighbouring frames overlap
    clips = rolled(blobs, velocities)
    shuffled = clips[:, [2, 0, 4, 1, 3]]
    real, other, control = (motion.clip_features(each) for each in (clips[:60], clips[60:], shuffled[60:]))
    assert real.shape == (60, 192)
    np.testing.assert_allclose(control[:, :96], other[:, :96], rtol=1e-4, atol=1e-5)
    assert frechet.frechet_distance(real, control) > 1.5 * frechet.frechet_distance(real, other)


def test_drift_is_the_change_of_a_mean_from_the_first_part_on():
    values = np.array([[1.0, 3.0, 4.0, 6.0, 5.0, 5.0, 9.0], np.full(7, 2.0)])
    np.testing.assert_allclose(motion.drift(values, 2), [[0, 3, 3], [0, 0, 0]])
    np.testing.assert_allclose(motion.drift(values, 7), np.zeros((2, 1)))


CLIPS = np.zeros((2, 3, 4, 4, 1))
test_what_is_no_motion_is_refused = refusals(
    (lambda: motion.displacements(CLIPS[0]), r"at least 2 frames of at least 3 x 3 pixels, got shape \(3, 4, 4, 1\)"),
    (lambda: motion.displacements(CLIPS[:, :1]), "at least 2 frames"),
    (lambda: motion.displacements(CLIPS[:, :, :2]), "at least 3 x 3 pixels"),
    (lambda: motion.displacements(CLIPS * np.nan), "clips: 2 of 2 rows hold NaN"),
    (lambda: motion.displacement_error(CLIPS[:, :2]), "clips have 2 frames: without velocities, at least 3"),
    (lambda: motion.displacement_error(CLIPS, np.zeros((3, 2))), r"velocities must be \(n, 2\) for the 2 clips"),
    (lambda: motion.displacement_error(CLIPS, np.full((2, 2), np.inf)), "velocities is not finite"),
    (lambda: motion.identity_kept(np.zeros(3, int)), r"predicted must be classes \(n, f\)"),
    (lambda: motion.identity_kept(np.zeros((2, 3))), "predicted must be whole numbers"),
    (lambda: motion.identity_kept(np.ones((2, 3, 4))), "predicted must be probabilities"),
    (
        lambda: motion.identity_kept(np.ones((2, 3, 1)), np.array([0, 1])),
        "expected holds 1, but predicted has the probabilities of 1 classes",
    ),
    (lambda: motion.identity_kept(np.zeros((2, 3), int), np.zeros(3, int)), "expected has shape"),
    (lambda: motion.clip_features(CLIPS[:, :1]), "at least 2 frames"),
    (lambda: motion.drift(np.zeros((2, 3)), 4), "length = 4"),
    (lambda: motion.drift(np.zeros(3), 1), "values must be features"),
)
