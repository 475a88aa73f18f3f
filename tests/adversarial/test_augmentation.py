"""Each picture is changed by numbers of its own, which have the stated laws, and the gradient passes."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from gendiff.adversarial import augmentation
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

N = 1000
ONE = np.random.default_rng(0).uniform(0.2, 0.9, size=(8, 8, 3)).astype(np.float32)
MANY = np.broadcast_to(ONE, (N, 8, 8, 3))
change = quickly(lambda augment, seed, images: augment(jax.random.key(seed), images))


def changed(*policies, images=MANY, seed=0):
    return np.asarray(change(augmentation.differentiable(policies), seed, images))


def test_brightness_saturation_and_contrast_are_uniform_in_their_ranges():
    images = changed("colour").astype(np.float64)
    grey, mean = images.mean(3), images.mean((1, 2, 3))
    own_grey, own_mean = ONE.astype(np.float64).mean(2), ONE.astype(np.float64).mean()
    contrast = (grey - mean[:, None, None]).std((1, 2)) / own_grey.std()
    saturation = (images - grey[..., None]).std((1, 2, 3)) / (ONE - own_grey[..., None]).std() / contrast
    for numbers, low, width in ((mean - own_mean, -0.5, 1.0), (saturation, 0.0, 2.0), (contrast, 0.5, 1.0)):
        assert scipy.stats.kstest(numbers, scipy.stats.uniform(low, width).cdf).pvalue > 0.01
    assert abs(np.corrcoef([mean, saturation, contrast]) - np.eye(3)).max() < 0.1


def test_a_picture_moves_by_one_of_nine_shifts_all_equally_likely_and_zeros_follow():
    framed = np.pad(ONE, ((1, 1), (1, 1), (0, 0)))
    shifts = np.stack([framed[down : down + 8, right : right + 8] for down in range(3) for right in range(3)])
    equal = (changed("translation")[:, None] == shifts[None]).all((2, 3, 4))
    assert np.all(equal.sum(1) == 1)
    assert scipy.stats.chisquare(equal.sum(0)).pvalue > 0.01


@table("side, most", [(28, 4), (12, 2), (4, 1)])
def test_a_picture_moves_by_at_most_an_eighth_of_its_side_rounded(side, most):
    places = np.broadcast_to(np.arange(1.0, side + 1, dtype=np.float32)[:, None, None], (400, side, side, 3))
    moved = changed("translation", images=places).max((2, 3))  # the row that each row shows, 0 outside
    shifts = (moved - np.arange(1, side + 1))[moved > 0]
    assert shifts.min() == -most and shifts.max() == most


@table("size, policies", [(8, ["cutout"]), (5, ["cutout"]), (3, ["translation", "cutout"])])
def test_a_hole_is_a_rectangle_of_half_the_side_that_lies_anywhere_and_pictures_below_4_pixels_do_not_move(
    size, policies
):
    images = MANY[:, :size, :size]
    cut = changed(*policies, images=images)
    gone = (cut == 0).all(3)
    np.testing.assert_array_equal(cut, np.where(gone[..., None], 0, images))
    rows, columns = gone.any(2), gone.any(1)
    np.testing.assert_array_equal(gone, rows[:, :, None] & columns[:, None, :])
    half = (size + 1) // 2
    centres = np.arange(size + 1 - half % 2)
    covered = np.array(
        [[centre - half // 2 <= position < centre - half // 2 + half for position in range(size)] for centre in centres]
    )
    for axis in (rows, columns):
        counts = (axis[:, None] == covered[None]).all(2).sum(0)
        assert counts.sum() == N and scipy.stats.chisquare(counts).pvalue > 0.01


def test_equal_keys_change_alike_and_others_do_not_and_neighbours_change_each_by_its_own_numbers():
    images = changed("colour", "translation", "cutout")
    np.testing.assert_array_equal(images, changed("colour", "translation", "cutout"))
    assert np.mean(images == changed("colour", "translation", "cutout", seed=1)) < 0.5  # both zero in holes alone
    strangers = np.concatenate([MANY[:1], np.zeros_like(MANY[1:])])
    np.testing.assert_allclose(changed("colour", "translation", "cutout", images=strangers)[0], images[0], atol=1e-6)
    assert len(np.unique(images.mean((1, 2, 3)))) > 0.99 * N


def test_no_policy_changes_nothing():
    np.testing.assert_array_equal(augmentation.differentiable(())(jax.random.key(0), ONE[None]), ONE[None])


def test_the_gradient_passes_and_is_exact_since_changes_are_linear_in_the_pictures():
    augment = augmentation.differentiable()
    move, weights = np.random.default_rng(1).normal(size=(2, 4, 8, 8, 3)).astype(np.float32)
    total = jax.value_and_grad(lambda x: jnp.sum(augment(jax.random.key(0), x) * weights))
    (here, slope), (there, _) = map(quickly(total), (MANY[:4], MANY[:4] + move))
    np.testing.assert_allclose(np.sum(slope * move), there - here, rtol=1e-3, atol=1e-3)
    assert np.all(np.any(slope != 0, axis=(1, 2, 3)))


def test_rebuilt_augmentations_are_equal():
    assert (
        augmentation.differentiable(["cutout"])
        == augmentation.differentiable(("cutout",))
        != augmentation.differentiable()
    )


test_mistakes_are_refused = refusals(
    (
        lambda: augmentation.differentiable(["color"]),
        "policies = 'color' is none of colour, translation, cutout; did you mean 'colour'",
    ),
    (
        lambda: augmentation.differentiable()(jax.random.key(0), ONE),
        r"images have shape \(8, 8, 3\), but must be \(b, h, w, c\)",
    ),
    (lambda: augmentation.differentiable()(jax.random.key(0), np.zeros((1, 8, 8, 1), np.uint8)), "floating", TypeError),
    (
        lambda: augmentation.differentiable()(jax.random.key(0), np.full((1, 8, 8, 1), 255.0, np.float32)),
        "unscaled pixels",
    ),
)
