"""Equal blocks of a network are traced once, and nothing else of it changes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import calls, fast
from gendiff.networks.blocks import transformer
from gendiff.networks.texts.language_model import LanguageModel
from tests.networks.rig import LABEL, T, X, dit, random_params

TOKENS = np.arange(6, dtype=np.int32).reshape(1, 6)
DEPTH = 4


@pytest.fixture
def traces(monkeypatch):
    """One entry for each block that is traced."""
    jax.clear_caches()
    result, call = [], transformer.TransformerBlock._attended

    def counted(self, *arguments, **named):
        result.append(self.name)
        return call(self, *arguments, **named)

    monkeypatch.setattr(transformer.TransformerBlock, "_attended", counted)
    yield result
    jax.clear_caches()


def model(**changes):
    return LanguageModel(16, **{"width": 16, "depth": DEPTH, "heads": 2, "mlp_width": 16} | changes)


@pytest.mark.parametrize("remat", [False, True, "products"])
def test_equal_blocks_are_traced_once_and_the_program_answers_the_same(traces, remat):
    network = model(remat=remat)
    params = networks.init(network, jax.random.key(0), TOKENS)
    assert len(traces) <= 2  # Flax and its checkpoint may each trace a block
    jax.clear_caches()
    with nn.intercept_methods(lambda call, arguments, named, _: call(*arguments, **named)):  # each block by itself
        jax.tree.map(np.testing.assert_array_equal, params, networks.init(network, jax.random.key(0), TOKENS))

    def total(apply):
        return lambda params: jnp.sum(jnp.square(apply(params, TOKENS).logits))

    del traces[:]
    values = jax.jit(jax.value_and_grad(total(networks.pure(network))))(params)
    once = len(traces)
    written_out = jax.jit(jax.value_and_grad(total(lambda params, x: network.apply({"params": params}, x))))(params)
    assert once <= 2 and len(traces) - once >= DEPTH
    jax.tree.map(np.testing.assert_array_equal, values, written_out)


def test_blocks_that_differ_in_more_than_their_names_are_traced_each(traces):
    network = model(window=2, global_blocks=(1,))
    params = random_params(network, TOKENS)
    del traces[:]
    jax.make_jaxpr(networks.pure(network))(params, TOKENS)
    assert len(traces) == 2


def test_whoever_looks_inside_meets_each_block():
    network = dit(depth=3)
    params, names = random_params(network, X, T, LABEL), []

    def note(call, arguments, named, context):
        if context.method_name == "__call__" and context.module.name and context.module.name.startswith("block_"):
            names.append(context.module.name)
        return call(*arguments, **named)

    pure = networks.pure(network)
    shared = jax.jit(pure)(params, X, T, LABEL)
    with nn.intercept_methods(note):
        jax.make_jaxpr(lambda params: pure(params, X, T, LABEL))(params)  # JAX knows pure already
    assert names == ["block_0", "block_1", "block_2"]
    for name in names:
        output, inside = jax.jit(networks.with_intermediate(network, name))(params, X, T, LABEL)
        np.testing.assert_array_equal(output, shared)
        assert inside.shape[0] == len(X)
    assert {f"block_{number}" for number in range(3)} <= {
        call.path for call in calls.recorded(network, params, X, T, LABEL)
    }


def test_a_module_that_is_applied_by_itself_shares_blocks_where_it_is_told_to(traces):
    network = model()
    params = random_params(network, TOKENS)
    for _ in range(2):
        del traces[:]
        with fast.equal_blocks_traced_once():
            jax.make_jaxpr(lambda params: network.apply({"params": params}, TOKENS))(params)
        assert len(traces) <= 1
    jax.make_jaxpr(lambda params: network.apply({"params": params}, TOKENS))(params)
    assert len(traces) >= DEPTH
