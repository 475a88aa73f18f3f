"""A second time is told as data, for each sample, and a network that begins to be told one is at first the network that
it was.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import trees
from tests.networks.rig import LABEL, T, X, apply, dit, drawn_of, moved, small_unet
from tests.tables import table

SECOND = networks.EndTime(np.array([0.0, 250.0, 900.0], np.float32))
every_network = table("build", [dit, small_unet])


@functools.cache
def fresh_told(network):
    """Parameters of a network of two times, away from 0 but where the second time begins."""
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL, SECOND))
    new_leaves = {path: leaf for path, leaf in trees.paths(params).items() if "second_time" in path}
    assert {path.split("/")[1] for path in new_leaves} == {"second_time_0", "second_time_1"} and len(new_leaves) == 4
    return trees.nested(
        trees.paths(drawn_of(params)) | {path: _started(path, leaf) for path, leaf in new_leaves.items()}
    )


def _started(path, leaf):
    return jax.device_put(np.full(leaf.shape, 0.0 if "second_time_1" in path else 0.1, leaf.dtype))


@every_network
def test_a_network_that_begins_from_one_of_one_time_is_that_one_and_then_each_sample_hears_its_own_second_time(build):
    network, params = build(second_time=True), fresh_told(build(second_time=True))
    before = trees.nested({path: leaf for path, leaf in trees.paths(params).items() if "second_time" not in path})
    was = apply(networks.pure(build()), before, X, T, LABEL)
    first = apply(networks.pure(network), params, X, T, LABEL, SECOND)
    np.testing.assert_allclose(first, was, rtol=1e-5, atol=1e-6)
    other = networks.EndTime(SECOND.t + np.array([0, 40, 0], np.float32))
    np.testing.assert_array_equal(apply(networks.pure(network), params, X, T, LABEL, other), first)
    usual, changed = (
        np.asarray(apply(networks.pure(network), moved(params), X, T, LABEL, second)) for second in (SECOND, other)
    )
    assert [bool(np.abs(sample).max() > 1e-5) for sample in changed - usual] == [False, True, False]


@every_network
def test_a_network_of_two_times_has_forward_derivatives_by_both(build):
    def answer_at(t, second):
        return networks.pure(build(second_time=True))(
            fresh_told(build(second_time=True)), X, t, LABEL, networks.EndTime(second)
        )

    answer, slope = jax.eval_shape(lambda: jax.jvp(answer_at, (T, SECOND.t), (T, SECOND.t)))
    assert answer.shape == slope.shape == X.shape


def test_the_last_layer_of_a_second_time_starts_at_0():
    embed = networks.embeddings.Embedding(8, 4)
    params = networks.init(embed, jax.random.key(0), jnp.zeros(2), None, None, None, jnp.zeros(2))
    assert not any(np.any(leaf) for leaf in params["second_time_1"].values()) and np.any(
        params["second_time_0"]["kernel"]
    )
