"""A mixture of experts, against all experts computed for all tokens and summed by one-hot weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gendiff import language, networks, scaling
from gendiff.core import trees
from gendiff.networks import fast, mixture_of_experts
from gendiff.networks.blocks.mixture_of_experts import Experts, MixtureOfExperts
from gendiff.networks.blocks.transformer import TransformerBlock
from gendiff.weights import quantised
from tests.networks import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.training import linear

pytestmark = pytest.mark.numbers

X = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
GIVEN = np.arange(8)[None] < np.array([8, 5, 0])[:, None]
KINDS = {
    "dropless": Experts(4, 2),
    "switch": Experts(4, 1, 1.0, normalised=False),
    "tight": Experts(4, 2, 0.5),
    "expert_choice": Experts(4, 2, 0.75, "expert_choice", normalised=False),
}
SLOPES = np.sin(np.arange(X.size)).reshape(X.shape).astype(np.float32)
every_kind = table("kind", KINDS)
program = quickly(lambda predict, params, *inputs: predict(params, *inputs), static_argnums=0)


def call(*arguments):
    return jax.tree.map(np.asarray, program(*arguments))


def layer(experts):
    return MixtureOfExperts(experts, width=5, bias=True)


@functools.cache
def random_params():
    """The parameters of every kind: all have the same shapes."""
    params = jax.tree.map(np.asarray, rig.random_params(layer(KINDS["tight"]), X, GIVEN))
    return params | {"router": 5 * params["router"]}  # decided enough that experts differ in load


@quickly
def every_answer(params, x, present):
    """Of each kind (gradient of the parameters, (y, routing))."""

    def loss(params, kind):
        y, routing = networks.pure(layer(KINDS[kind]))(params, x, present)
        return jnp.sum(y * SLOPES), (y, routing)

    return {kind: jax.grad(loss, has_aux=True)(params, kind) for kind in KINDS}


def call_with(kind, x=X, present=GIVEN):
    """(y, routing, gradient of the parameters), by one program for all kinds and all inputs."""
    gradient, (y, routing) = jax.tree.map(np.asarray, every_answer(random_params(), x, present)[kind])
    return y, routing, gradient


answered = functools.cache(call_with)


def one_hot(params, x, weights, np=jnp):
    """All experts for all tokens, by products with one-hot masks alone."""
    y = np.einsum("bsd,edf->bsef", x, params["mlp_0"]["kernel"]) + params["mlp_0"]["bias"][None, None]
    gate, up = np.split(y, 2, -1)
    y = (
        np.einsum("bsef,efd->bsed", gate / (1 + np.exp(-gate)) * up, params["mlp_1"]["kernel"])
        + params["mlp_1"]["bias"][None, None]
    )
    return np.einsum("bsed,bse->bsd", y, weights)


@quickly
@jax.grad
def gradient_of_one_hot(params, chosen, taken, normalised):
    weights = jnp.where(
        chosen, jax.nn.softmax(jnp.einsum("bsd,de->bse", X, params["router"], precision="highest"), -1), 0
    )
    total = jnp.where(normalised & chosen.any(-1), weights.sum(-1), 1)
    return jnp.sum(SLOPES * one_hot(params, X, jnp.where(taken, weights / total[..., None], 0)))


@every_kind
def test_the_answer_is_that_of_all_experts_summed_by_the_weights(kind):
    y, routing, _ = answered(kind)
    np.testing.assert_allclose(y, one_hot(random_params(), X, routing.weights, np), atol=1e-5)
    assert not np.any(y[~GIVEN]) and np.abs(y[GIVEN]).max() > 0.1


@every_kind
def test_gradients_are_those_of_the_one_hot_sum_and_reach_the_router(kind):
    _, routing, gradient = answered(kind)

    expected = trees.paths(gradient_of_one_hot(random_params(), routing.chosen, routing.kept, KINDS[kind].normalised))
    for path, leaf in trees.paths(gradient).items():
        np.testing.assert_allclose(leaf, expected[path], atol=2e-5, rtol=1e-4, err_msg=path)
    assert np.abs(gradient["router"]).max() > 1e-3


@every_kind
def test_no_expert_keeps_more_tokens_of_a_text_than_its_capacity_and_padding_takes_none(kind):
    _, routing, _ = answered(kind)
    limits = KINDS[kind].capacities(8)[[8, 5, 0]]
    assert np.all(routing.kept.sum(1) <= limits[:, None])
    assert not np.any(routing.chosen[~GIVEN]) and not np.any(routing.weights[~routing.kept])
    if kind == "dropless":
        assert np.array_equal(routing.kept, routing.chosen)
    if kind in ("switch", "tight"):
        assert (routing.kept.sum() < routing.chosen.sum()) and np.all(
            (routing.kept.sum(1) == limits[:, None]) | (limits[:, None] >= routing.chosen.sum(1))
        )
    if "choice" in kind:
        assert np.array_equal(routing.kept.sum(1), np.repeat(limits[:, None], 4, 1)), "every expert is full"
    else:
        assert np.array_equal(routing.chosen.sum(-1), GIVEN * KINDS[kind].top_k)


@table("kind", ["tight", "expert_choice"])
def test_a_text_is_answered_alike_whatever_stands_beside_and_behind_it(kind):
    full, _, _ = answered(kind)
    others = np.where((GIVEN & (np.arange(3) == 1)[:, None])[..., None], X, 7 * X[::-1, ::-1])
    y, _, _ = call_with(kind, others, GIVEN | (np.arange(3) == 2)[:, None])
    np.testing.assert_allclose(y[1], full[1], atol=1e-5)
    if kind == "tight":
        alone, _ = call(networks.pure(layer(KINDS[kind])), random_params(), X[1:2, :5], GIVEN[1:2, :5])
        np.testing.assert_allclose(alone[0], full[1, :5], atol=1e-5)


def test_of_the_tokens_that_choose_an_expert_it_keeps_the_first():
    _, routing, _ = answered("tight")
    for chosen, taken, count in zip(routing.chosen, routing.kept, (8, 5, 0), strict=True):
        limit = KINDS["tight"].capacities(8)[count]
        assert np.array_equal(taken, chosen & (np.cumsum(chosen, 0) <= limit))


def test_an_expert_that_chooses_takes_the_tokens_with_the_highest_probabilities():
    _, routing, _ = answered("expert_choice")
    score = np.where(GIVEN[0][:, None], scipy.special.softmax(routing.logits[0], -1), -1)
    for expert in range(4):
        best = np.argsort(-score[:, expert], kind="stable")[:3]
        assert set(best) == set(np.flatnonzero(routing.kept[0, :, expert]))


def test_an_expert_that_chooses_may_share_a_token_with_others_by_weights_that_sum_to_one():
    choose = quickly(mixture_of_experts.expert_choice, static_argnums=2)
    routing, _, _ = choose(answered("expert_choice")[1].logits, GIVEN, Experts(4, 2, 1.0, "expert_choice"))
    np.testing.assert_allclose(np.asarray(routing.weights).sum(-1), np.asarray(routing.kept).any(-1), atol=1e-6)


def test_permuted_tokens_are_answered_permuted_when_nothing_is_dropped():
    order = np.random.default_rng(1).permutation(8)
    y, _, _ = answered("dropless")
    turned, _, _ = call_with("dropless", X[:, order], GIVEN[:, order])
    np.testing.assert_allclose(turned, y[:, order], atol=1e-5)


SETTINGS = {"heads": 2, "mlp_width": 5, "gated": True, "activation": "silu", "norm": "rms"}


EQUAL = Experts(1, 1), Experts(3, 2), Experts(3, 2, 1.5)


@functools.cache
def blocks_of_equal_experts():
    """What the dense block answers, and the block with each of EQUAL."""
    dense = TransformerBlock(**SETTINGS)
    params = rig.random_params(dense, X)

    def mixed(params, experts):
        same = {
            name: jax.tree.map(lambda leaf: jnp.stack([leaf] * experts.number), params[name])
            for name in ("mlp_0", "mlp_1")
        }
        router = 3 * np.random.default_rng(2).normal(size=(6, experts.number)).astype(np.float32)
        return {name: leaf for name, leaf in params.items() if name not in same} | {
            "experts": same | {"router": router}
        }

    @quickly
    def answers(params, x):
        several = {experts: networks.pure(TransformerBlock(**SETTINGS, experts=experts)) for experts in EQUAL}
        return networks.pure(dense)(params, x)[0], [
            block(mixed(params, experts), x)[:2] for experts, block in several.items()
        ]

    return jax.tree.map(np.asarray, answers(params, X))


@table("layer", range(3))
def test_a_block_of_one_expert_is_the_dense_block_and_so_is_one_of_several_that_are_equal(layer):
    dense, several = blocks_of_equal_experts()
    y, cache = several[layer]
    np.testing.assert_allclose(y, dense, atol=1e-5)
    assert cache is None


def test_packed_experts_answer_as_their_unpacked_selves_and_count_as_many():
    module = layer(KINDS["tight"])
    rules = (quantised.Packing("mlp_[01]/kernel$", quantised.int8(), (3,)),)

    @quickly
    def both(params, x, present):
        params = quantised.quantise(params, rules)
        y, routing = networks.pure(module)(params, x, present)
        return params, y, routing.weights, quantised.dequantise(params)

    params, y, weights, unpacked = jax.tree.map(np.asarray, both(random_params(), X, GIVEN))
    np.testing.assert_allclose(y, one_hot(unpacked, X, weights, np), atol=1e-5)
    assert networks.count(params) == networks.count(random_params())


def test_capacities_are_exact_where_floating_point_is_not_and_no_more_than_the_text():
    assert Experts(10, 1, 1.1, normalised=False).capacities(100)[100] == 11
    assert Experts(4, 2, 1.25).capacities(8).tolist() == [0, 1, 2, 2, 3, 4, 4, 5, 5]
    assert Experts(2, 2, 9.0).capacities(3).tolist() == [0, 1, 2, 3] == Experts(2, 2).capacities(3).tolist()


def test_the_balance_changes_who_is_chosen_and_not_the_weights_and_has_no_gradient():
    logits = np.random.default_rng(4).normal(size=(3, 8, 4)).astype(np.float32)

    def weights(balance, logits):
        routing, _ = mixture_of_experts.token_choice(
            logits, jnp.asarray(GIVEN), Experts(4, 2, bias_balanced=True), balance
        )
        return jnp.sum(routing.weights * SLOPES[..., :4]), routing

    pushed = np.array([0.0, 0.0, 9.0, 0.0], np.float32)
    ask = quickly(jax.grad(weights, (0, 1), has_aux=True))
    (slopes, routing), (_, plain) = (jax.tree.map(np.asarray, ask(balance, logits)) for balance in (pushed, 0 * pushed))
    assert not np.any(slopes[0]) and np.any(slopes[1])
    assert np.all(routing.chosen[GIVEN][:, 2]) and not np.all(plain.chosen[GIVEN][:, 2])
    probabilities = np.where(routing.chosen, scipy.special.softmax(logits, -1), 0)[GIVEN]
    np.testing.assert_allclose(routing.weights[GIVEN], probabilities / probabilities.sum(-1, keepdims=True), rtol=1e-5)
    shapes = jax.eval_shape(
        lambda key: networks.init(layer(Experts(4, 2, bias_balanced=True)), key, X), jax.random.key(0)
    )
    assert shapes["balance"].shape == (4,)


def test_each_expert_starts_as_a_single_layer_does_whatever_their_number():
    draw = quickly(
        lambda key: networks.init(MixtureOfExperts(Experts(16, 2), 64), key, np.zeros((1, 1, 48), np.float32))
    )
    params = draw(jax.random.key(0))
    assert np.std(params["mlp_0"]["kernel"]) == pytest.approx(48**-0.5, rel=0.02)
    assert np.std(params["mlp_1"]["kernel"]) == pytest.approx(64**-0.5, rel=0.02)


PRODUCTS = fast.product_of_groups, fast.product_of_blocks, jax.lax.ragged_dot
products = quickly(lambda *inputs: [product(*inputs) for product in PRODUCTS])


@table(
    "number, sizes",
    [(160, (3, 0, 5, 2)), (160, (0, 0, 0, 0)), (160, (40, 40, 40, 40)), (160, (150, 1, 0, 9)), (3, (0, 2, 0, 1))],
)
def test_products_of_groups_in_blocks_are_those_of_ragged_dot(number, sizes):
    draw = np.random.default_rng(3)
    rows, kernels = draw.normal(size=(number, 3)).astype(np.float32), draw.normal(size=(4, 3, 2)).astype(np.float32)
    expected = np.zeros((number, 2))
    for row, group in enumerate(np.repeat(np.arange(4), sizes)):
        expected[row] = rows[row] @ kernels[group]
    for product in products(rows, kernels, np.array(sizes, np.int32)):
        np.testing.assert_allclose(product, expected, atol=1e-5)


def test_slopes_of_products_in_blocks_and_their_slopes_are_those_of_one_hot_sums():
    """With an empty group, blocks that hold rows of two groups, and rows of no group."""
    draw = np.random.default_rng(4)
    rows, kernels, weights = (
        jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((160, 3), (4, 3, 2), (160, 2))
    )
    sizes = jnp.array([50, 0, 31, 70])
    group = jax.nn.one_hot(jnp.repeat(jnp.arange(5), jnp.append(sizes, 9), total_repeat_length=160), 4)

    def one_hot(rows, kernels, sizes):
        return jnp.einsum("ng,nd,gdf->nf", group, rows, kernels)

    def slopes(product, *inputs):
        return jax.grad(lambda *inputs: jnp.sum(jnp.sin(product(*inputs, sizes)) * weights), (0, 1))(*inputs)

    def second(product, *inputs):
        return jax.grad(lambda *inputs: sum(jnp.sum(each**2) for each in slopes(product, *inputs)), (0, 1))(*inputs)

    def ask(*inputs):
        return [[order(each, *inputs) for each in (fast.product_of_blocks, one_hot)] for order in (slopes, second)]

    for blocked, expected in quickly(ask)(rows, kernels):
        for one, other in zip(blocked, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


TOKENS = np.random.default_rng(0).integers(0, 30, (2, 6)).astype(np.int32)


def model(experts, **changes):
    return networks.LanguageModel(
        **({"vocabulary": 30, "context": 8, "width": 8, "depth": 2, "heads": 2, "mlp_width": 5} | changes),
        experts=experts,
    )


def test_a_language_model_gives_the_routing_of_every_block_and_sees_no_later_token():
    network = model(KINDS["dropless"], depth=1)
    params = rig.random_params(network, TOKENS)
    padded = np.where(np.arange(6)[None] < np.array([6, 4])[:, None], TOKENS, -1)
    answer, other = (call(networks.pure(network), params, tokens) for tokens in (padded, TOKENS))
    (routing,) = answer.routing
    assert np.array_equal(routing.given, padded >= 0) and not np.any(routing.chosen[1, 4:]) and answer.cache is None
    np.testing.assert_allclose(answer.logits[1, :4], other.logits[1, :4], atol=1e-5)
    for experts, blocks in ((KINDS["dropless"], 2), (None, 0)):
        shapes = jax.eval_shape(
            lambda key, experts=experts: networks.init(model(experts), key, TOKENS), jax.random.key(0)
        )
        assert len(jax.eval_shape(networks.pure(model(experts)), shapes, TOKENS).routing) == blocks


@pytest.mark.slow
def test_with_a_cache_the_logits_are_those_of_the_whole_text_where_nothing_is_dropped():
    network = model(KINDS["dropless"])
    params = rig.random_params(network, TOKENS)
    next_logits, ask = (
        language.from_network(networks.pure(network), params),
        quickly(lambda next_logits, *inputs: next_logits(*inputs)),
    )
    _, cache = ask(
        next_logits,
        np.where(np.arange(5)[None] < np.array([[5], [3]]), TOKENS[:, :5], -1),
        language.cache.full(network, 2, 8),
    )
    last, _ = ask(next_logits, np.pad(TOKENS[[0, 1], [5, 3]][:, None], ((0, 0), (0, 4)), constant_values=-1), cache)
    full = call(networks.pure(network), params, TOKENS).logits
    np.testing.assert_allclose(last, full[[0, 1], [5, 3]], atol=1e-5)


def test_all_and_active_parameters_are_those_that_the_costs_count():
    network = model(Experts(4, 2), tied=False)
    params = jax.eval_shape(lambda key: networks.init(network, key, TOKENS), jax.random.key(0))
    size = scaling.DecoderSize(30, 8, 2, 2, 4, 5, tied=False, experts=4, top_k=2)
    assert networks.count(params) == size.parameters
    norms_and_table = 5 * 8 + 30 * 8
    assert mixture_of_experts.active(params, network.experts) == size.active + norms_and_table


DEVICES = r"""
import re
import jax, jax.numpy as jnp, numpy as np
from gendiff import networks
from gendiff.core import trees
from gendiff.networks import transformer
from gendiff.training import sharding

mesh = sharding.mesh(data=2, tensor=2)
tokens = np.random.default_rng(0).integers(0, 30, (4, 8)).astype(np.int32)
for capacity in (None, 1.25):
    experts = networks.Experts(4, 2, capacity)
    network = networks.LanguageModel(vocabulary=30, width=16, depth=2, heads=2, mlp_width=24, experts=experts)
    params = networks.init(network, jax.random.key(0), tokens)

    def loss(params, tokens):
        answer = networks.pure(network)(params, tokens)
        return jnp.mean(jnp.sin(answer.logits)) + jnp.sum(networks.routing.balance_loss(answer.routing))

    step = jax.jit(jax.value_and_grad(loss))
    alone = step(params, tokens)
    placed = sharding.distribute(params, mesh, (*transformer.TENSOR_PARALLEL_UNBIASED, *transformer.EXPERT_PARALLEL))
    for name in ("mlp_0", "mlp_1"):
        kernel = placed["block_0"]["experts"][name]["kernel"]
        assert kernel.sharding.shard_shape(kernel.shape) == (2, *kernel.shape[1:])
    inputs = placed, sharding.shard(tokens, mesh)
    spread = step(*inputs)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=2e-6), alone, spread)
    if capacity:
        whole = sharding.mesh(fsdp=4)  # where every device gathers all experts
        programs = inputs, (sharding.distribute(params, whole, smallest=1), sharding.shard(tokens, whole))
        texts = [step.lower(*given).compile().as_text() for given in programs]
        assert [bool(re.search(r"f32\[4,(16,48|24,16)\]\S* all-gather", text)) for text in texts] == [False, True]
    print("equal")
"""


@pytest.mark.slow
def test_devices_that_share_the_experts_compute_what_one_does():
    assert (
        linear.finish(linear.python(DEVICES, flags="--xla_force_host_platform_device_count=4"), timeout=300).count(
            "equal"
        )
        == 2
    )


STREAMS = np.ones((1, 2, 4), np.float32), np.ones((1, 3, 4), np.float32)
test_mistakes_are_refused = refusals(
    (lambda: Experts(4, 5), r"top_k = 5 is outside \[1, 4\]"),
    (lambda: Experts(0), "number = 0"),
    (lambda: Experts(4, 2, 0.0), "capacity_factor = 0"),
    (lambda: Experts(4, 2, router="topk"), "did you mean 'top_k'"),
    (lambda: Experts(4, 1), "normalised=False"),
    (lambda: Experts(4, 2, router="expert_choice"), "needs a capacity_factor"),
    (lambda: Experts(4, 2, 1.0, "expert_choice", bias_balanced=True), "bias_balanced"),
    (
        lambda: networks.init(TransformerBlock(2, experts=Experts()), jax.random.key(0), STREAMS),
        "experts are for one stream",
    ),
    (lambda: networks.init(model(KINDS["expert_choice"]), jax.random.key(0), TOKENS), "later tokens"),
)
