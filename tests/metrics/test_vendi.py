import numpy as np
import pytest

from gendiff.metrics import vendi

ORDERS = [0, 0.5, 1, 2, 5.0, float("inf")]


def sample(n=12, d=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("order", ORDERS)
def test_equal_rows_are_one_item_orthogonal_rows_n_and_two_groups_two(order):
    assert vendi.score(np.tile([1.0, 2.0, 3.0], (7, 1)), order=order) == pytest.approx(1, abs=1e-12)
    assert vendi.score(np.eye(6)[:, ::-1] * 3, order=order) == pytest.approx(6, rel=1e-12)
    assert vendi.score(np.repeat(np.eye(2), 4, axis=0), order=order) == pytest.approx(2, rel=1e-12)


def test_two_groups_of_shares_p_and_q_are_the_exponential_of_their_entropy():
    rows = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert vendi.score(rows) == pytest.approx(np.exp(entropy), rel=1e-12)
    assert vendi.score(rows, order=2) == pytest.approx(1 / (0.75**2 + 0.25**2), rel=1e-12)
    assert vendi.score(rows, order=float("inf")) == pytest.approx(4 / 3, rel=1e-12)


@pytest.mark.parametrize("shape", [(12, 5), (4, 9)])
def test_it_is_the_entropy_of_the_kernel_matrix_written_out(shape):
    rows = sample(*shape)
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in rows] for b in rows])
    shares = np.linalg.eigvalsh(cosines / len(rows))
    shares = shares[shares > 1e-12]
    assert vendi.score(rows) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-10)


def test_length_order_and_rotation_of_the_rows_do_not_enter():
    rows = sample()
    turned = rows @ np.linalg.qr(sample(5, 5, 1))[0]
    for other in (rows * np.geomspace(1e-200, 1e200, 12)[:, None], rows[::-1], turned):
        assert vendi.score(other) == pytest.approx(vendi.score(rows), rel=1e-10)


def test_orders_decrease_and_orders_near_one_reach_shannons():
    rows = sample()
    values = [vendi.score(rows, order=order) for order in ORDERS]
    assert all(a >= b for a, b in zip(values, values[1:], strict=False))
    assert vendi.score(rows, order=1 + 1e-6) == pytest.approx(vendi.score(rows), rel=1e-5)


def test_draws_are_scores_of_subsets_and_depend_on_the_seed_only():
    rows = np.repeat(np.eye(3), 10, axis=0)
    drawn = vendi.over_subsets(rows, count=4, size=30, seed=0)
    np.testing.assert_allclose(drawn, 3, rtol=1e-12)
    few = vendi.over_subsets(sample(), count=3, size=4, seed=1)
    np.testing.assert_array_equal(few, vendi.over_subsets(sample(), count=3, size=4, seed=1))
    assert np.all((few > 1) & (few <= 4)) and len(set(few)) == 3


def test_rows_without_direction_and_orders_below_zero_are_refused():
    with pytest.raises(ValueError, match="features: 1 of 3 rows are all zeros"):
        vendi.score(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="order = -1 is outside"):
        vendi.score(sample(), order=-1)
    with pytest.raises(ValueError, match="features has 12 rows, fewer than the 13 asked for"):
        vendi.over_subsets(sample(), size=13, seed=0)
