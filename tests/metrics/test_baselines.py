import numpy as np
import pytest

from gendiff.metrics import baselines

LABELS = np.repeat(np.arange(3), 40)


def images(seed=0):
    """Three classes of 2×2 images, far apart, each flat in one direction."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((120, 2, 2, 1)) + 50.0 * LABELS[:, None, None, None]
    x[:, 1, 1] = x[:, 0, 0]
    return x.astype(np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("control", [baselines.gaussian_per_class, baselines.smote])
def test_each_sample_is_of_its_wanted_class_and_the_generator_alone_decides(control):
    wanted = np.array([2, 0, 0, 1, 2, 2])
    drawn = control(images(), LABELS, rng(), wanted)
    assert drawn.shape == (6, 2, 2, 1) and drawn.dtype == np.float32
    np.testing.assert_array_equal(np.round(drawn.mean(axis=(1, 2, 3)) / 50), wanted)
    np.testing.assert_array_equal(control(images(), LABELS, rng(), wanted), drawn)
    assert not np.array_equal(control(images(), LABELS, rng(1), wanted), drawn)


def test_the_gaussian_has_the_mean_and_covariance_of_its_class():
    drawn = baselines.gaussian_per_class(images(), LABELS, rng(), np.ones(20000, int)).reshape(20000, 4)
    members = images()[LABELS == 1].reshape(40, 4)
    np.testing.assert_allclose(drawn.mean(axis=0), members.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(members.T), atol=0.06)


def test_the_gaussian_stays_in_the_subspace_of_a_rank_deficient_class():
    drawn = baselines.gaussian_per_class(images(), LABELS, rng(), np.zeros(100, int))
    np.testing.assert_allclose(drawn[:, 1, 1], drawn[:, 0, 0], atol=1e-5)
    two = baselines.gaussian_per_class(images()[39:41], np.zeros(2, int), rng(), np.zeros(50, int)).reshape(50, 4)
    assert np.linalg.matrix_rank(two - two.mean(axis=0), tol=1e-3) == 1


def test_smote_lies_between_an_image_and_one_of_its_nearest_of_the_class():
    line = np.array([0.0, 1.0, 10.0, 11.0, 100.0, 101.0]).reshape(6, 1)
    drawn = baselines.smote(line, np.zeros(6, int), rng(), np.zeros(500, int), neighbours=1)[:, 0]
    assert np.isin(np.floor(drawn), [0, 10, 100]).all()
    assert np.histogram(drawn % 1, bins=4, range=(0, 1))[0].min() > 80
    members = images()[LABELS == 0].reshape(40, 4)
    drawn = baselines.smote(images(), LABELS, rng(), np.zeros(300, int)).reshape(300, 4)
    assert (drawn >= members.min(axis=0)).all() and (drawn <= members.max(axis=0)).all()


def test_smote_uses_every_image_and_each_of_its_neighbours():
    triangle = np.eye(3)
    drawn = baselines.smote(triangle, np.zeros(3, int), rng(), np.zeros(600, int), neighbours=2)
    np.testing.assert_allclose(drawn.sum(axis=1), 1, rtol=1e-6)
    edges = np.argmin(drawn, axis=1)
    assert np.bincount(edges, minlength=3).min() > 150


def test_noise_has_its_standard_deviation_and_none_changes_nothing():
    x = np.zeros((100, 8, 8, 1), np.float32)
    assert baselines.noisy(x, rng(), 0.5).std() == pytest.approx(0.5, rel=0.03)
    np.testing.assert_array_equal(baselines.noisy(images(), rng(), 0.0), images())


FEW = np.concatenate([LABELS[:-5], np.full(5, 3)])


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: baselines.smote(x, FEW, rng(), np.array([3])), "class 3 has 5 images, at least 6 are needed"),
        (lambda x: baselines.gaussian_per_class(x, LABELS, rng(), np.array([7])), "class 7 has 0 images, at least 2 are needed"),
        (lambda x: baselines.gaussian_per_class(x, LABELS, rng(), np.array([1.0])), "wanted_labels must be whole numbers"),
        (lambda x: baselines.gaussian_per_class(x, LABELS[1:], rng(), np.array([1])), r"labels has shape \(119,\), but 120 rows need"),
        (lambda x: baselines.smote(x, LABELS, rng(), np.array([1]), neighbours=0), "neighbours = 0"),
        *((lambda x, std=std: baselines.noisy(x, rng(), std), "std = ") for std in (-1.0, float("nan"), float("inf"))),
    ],
)
def test_bad_images_and_labels_are_refused_with_counts(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(images())
