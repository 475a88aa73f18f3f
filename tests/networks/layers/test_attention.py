import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import attention
from gendiff.networks.fast import cpu_attention
from tests.networks.rig import quickly, value_and_slopes
from tests.tables import table

pytestmark = pytest.mark.numbers

ARRAYS = tuple(
    jax.device_put(array.astype(np.float32)) for array in np.random.default_rng(0).normal(size=(3, 2, 5, 3, 4))
)
ALL = np.ones((2, 1, 5, 5), bool)
MASK = np.random.default_rng(1).random(ALL.shape) < 0.6
MASK[:, :, :, 0] = True
MASK[0, :, 2] = False  # a query that sees nothing


def plain(query, key, value, mask=ALL, bias=0.0, scalar=None, cap=None):
    root = jnp.sqrt(jnp.asarray(query.shape[-1] if scalar is None else scalar, query.dtype))
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / root + bias
    scores = scores if cap is None else cap * jnp.tanh(scores / cap)
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e30)) * mask.any(-1, keepdims=True)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


def test_attention_equals_the_plain_formula_in_value_gradient_and_tangent_also_where_a_query_sees_nothing():
    masks = None, MASK

    def all_of(f, arrays):
        return jax.jvp(lambda *arrays: value_and_slopes(f, *arrays), arrays, tuple(jnp.cos(array) for array in arrays))

    def ours(mask, implementation):
        return lambda *arrays: attention.attend(*arrays, mask, implementation=implementation)

    @quickly
    def run_all(arrays):
        expected = [
            all_of(lambda *arrays, mask=mask: plain(*arrays, ALL if mask is None else mask), arrays) for mask in masks
        ]
        return {
            name: [all_of(ours(mask, name), arrays) for mask in masks] for name in ("auto", "heads_first", "xla")
        }, expected

    results, expected = run_all(ARRAYS)
    for name, arrays_of in results.items():
        jax.tree.map(
            lambda a, b, name=name: np.testing.assert_allclose(a, b, atol=2e-5, err_msg=name), arrays_of, expected
        )
        for mask, result in zip((True, MASK.any(-1).transpose(0, 2, 1)), arrays_of, strict=True):
            assert np.all(np.any(result[0][0], -1) == mask), name


def test_attention_of_few_queries_to_many_keys_equals_the_plain_formula_in_value_and_gradient():
    draws = np.random.default_rng(2)
    query, key, value = (jnp.asarray(draws.normal(size=(2, length, 3, 4)), jnp.float32) for length in (2, 40, 40))
    for mask in (
        np.ones((2, 1, 2, 40), bool),
        (draws.random((2, 1, 2, 40)) < 0.5) & np.array([True, False])[None, None, :, None],
    ):
        ours, expected = quickly(
            lambda mask, *arrays: [
                value_and_slopes(f, *arrays)
                for f in (
                    lambda *arrays: attention.attend(*arrays, mask, implementation="heads_first"),
                    lambda *arrays: plain(*arrays, mask),
                )
            ]
        )(mask, query, key, value)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), ours, expected)


def test_attention_of_one_query_equals_the_plain_formula_in_value_and_gradient():
    """With keys of its own for each head and with shared ones; the first text of the masks sees nothing."""
    draws = np.random.default_rng(3)
    visible = (draws.random((2, 6, 1, 20)) < 0.5) & np.array([False, True])[:, None, None, None]

    @quickly
    def both(query, key, value):
        results = []
        for groups, mask in (
            (6, None),
            (6, visible),
            (6, visible[1:]),
            (2, None),
            (2, visible[:, :1]),
            (2, visible[1:, :1]),
        ):

            def ours(query, key, value, groups=groups, mask=mask):
                return attention.attend(
                    query, key[:, :, :groups], value[:, :, :groups], mask, implementation="heads_first"
                )

            def expected(query, key, value, groups=groups, mask=mask):
                repeated = (jnp.repeat(array[:, :, :groups], 6 // groups, 2) for array in (key, value))
                return plain(query, *repeated, np.ones((1, 1, 1, 20), bool) if mask is None else mask)

            results.append([value_and_slopes(f, query, key, value) for f in (ours, expected)])
        return results

    for ours, expected in both(
        *(jnp.asarray(draws.normal(size=(2, length, 6, 4)), jnp.float32) for length in (1, 20, 20))
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), ours, expected)


def test_scaled_and_capped_scores_are_those_of_the_formula_in_value_and_gradient(monkeypatch):
    """Of one query, of few and of more; the last ones in chunks."""
    monkeypatch.setattr(cpu_attention, "LARGE", 0)
    draws = np.random.default_rng(5)
    lengths = 1, 2, 8, 40, 40
    *queries, key, value = (jnp.asarray(draws.normal(size=(2, n, 3, 4)), jnp.float32) for n in lengths)
    mask = draws.random((2, 1, 1, 40)) < 0.6
    scores = attention.Scores(scalar=2.0, cap=1.5)

    def ours(query, key, value):
        return attention.attend(query, key, value, mask, scores=scores, implementation="chunked")

    def expected(query, key, value):
        return plain(query, key, value, mask, scalar=2.0, cap=1.5)

    def of_all(f):
        return [value_and_slopes(f, query, key, value) for query in queries]

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), *quickly(lambda: (of_all(ours), of_all(expected)))()
    )
    with pytest.raises(ValueError, match="attention = 'xla' has no cap of scores"):
        attention.attend(queries[0], key, value, scores=scores, implementation="xla")


@table("implementation", ["heads_first", "xla"])
def test_a_bias_is_added_to_the_scores_in_value_and_gradient_and_the_mask_hides_all_the_same(implementation):
    bias = jnp.asarray(np.random.default_rng(4).normal(size=(1, 3, 5, 5)), jnp.float32)

    def ours(query, key, value, bias):
        return attention.attend(query, key, value, MASK, bias=bias, implementation=implementation)

    def expected(query, key, value, bias):
        return plain(query, key, value, MASK, bias)

    both = quickly(lambda *arrays: [value_and_slopes(f, *arrays) for f in (ours, expected)])(*ARRAYS, bias)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), *both)


def test_a_bias_is_added_for_one_query_and_for_few_too():
    draws = np.random.default_rng(5)
    query, key, value = (jnp.asarray(draws.normal(size=(2, length, 3, 4)), jnp.float32) for length in (2, 40, 40))
    bias = jnp.asarray(draws.normal(size=(1, 3, 2, 40)), jnp.float32)

    @quickly
    def both(query, key, value, bias):
        run_all = np.ones((1, 1, 1, 40), bool)
        few = [(query[:, :number], bias[:, :, :number]) for number in (1, 2)]
        ours = [attention.attend(some, key, value, bias=added, implementation="heads_first") for some, added in few]
        return ours, [plain(some, key, value, run_all, added) for some, added in few]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), *both(query, key, value, bias))


@table("implementation", ["heads_first", "xla"])
def test_attention_in_bfloat16_is_within_its_rounding_of_the_plain_formula(implementation):
    halves = tuple(array.astype(jnp.bfloat16) for array in ARRAYS)
    half = quickly(
        lambda *arrays: value_and_slopes(lambda *a: attention.attend(*a, implementation=implementation), *arrays)
    )(*halves)
    assert half[0].dtype == jnp.bfloat16
    full = quickly(lambda *arrays: value_and_slopes(plain, *arrays))(*(array.astype(jnp.float32) for array in halves))
    for result, expected, atol in zip(half, full, (0.02, 0.05, 0.05, 0.05), strict=True):
        np.testing.assert_allclose(result.astype(jnp.float32), expected, atol=atol)


@pytest.mark.float64
def test_attention_is_exact_in_float64_and_scores_of_any_size_stay_finite():
    for dtype, scale, atol in ((jnp.float64, 1, 1e-14), (jnp.float32, 1e4, 1e-5)):
        query, key, value = (array.astype(dtype) for array in ARRAYS)
        ours, expected = quickly(lambda *arrays: (attention.attend(*arrays), plain(*arrays)))(
            query * scale, key * scale, value
        )
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, expected, atol=atol)


def test_the_backward_pass_keeps_no_weights():
    query = jax.ShapeDtypeStruct((1, 64, 2, 4), jnp.float32)
    attend = jax.tree_util.Partial(attention.attend, implementation="heads_first")
    back = jax.eval_shape(lambda *arrays: jax.vjp(attend, *arrays)[1], query, query, query)
    assert max(leaf.size for leaf in jax.tree.leaves(back)) <= query.size < 64**2


def test_causal_is_computed_from_positions_and_hides_empty_keys():
    mask = attention.causal(np.array([[3, 1]]), np.array([[0, 1, 2, 3, -1]]))
    np.testing.assert_array_equal(mask[0, 0], [[True, True, True, True, False], [True, True, False, False, False]])


@table(
    ("size", "queries", "keys", "dtype", "masked", "expected"),
    [
        (64, 5, 5, "bfloat16", False, "cudnn"),
        (64, 4, 6, "bfloat16", True, "cudnn"),
        (64, 4, 77, "bfloat16", True, "xla"),
        (160, 4, 4, "bfloat16", False, "xla"),
        (12, 4, 4, "bfloat16", False, "xla"),
        (64, 4, 4, "float32", False, "xla"),
    ],
)
def test_a_gpu_has_cudnn_for_what_it_takes_and_xla_for_the_rest(
    monkeypatch, size, queries, keys, dtype, masked, expected
):
    """Stable Diffusion 1.5 has heads of 160 channels and texts of 77 tokens, which JAX's cuDNN attention refuses."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    chosen = list[str]()
    for name in ("cudnn", "xla"):
        monkeypatch.setitem(attention.IMPLEMENTATIONS, name, lambda query, *_, name=name: chosen.append(name) or query)
    query, key = (jnp.zeros((1, length, 2, size), dtype) for length in (queries, keys))
    attention.attend(query, key, key, np.ones((1, 1, 1, keys), bool) if masked else None)
    assert chosen == [expected]


@table("groups", [2, 1])
def test_cudnn_gets_a_row_of_the_mask_for_each_query(monkeypatch, groups):
    """JAX's check of shapes refuses one row for all queries, as masks of texts are."""
    shapes = []

    def attend(query, key, value, bias, mask, implementation):
        shapes.append((implementation, mask.shape, query.shape))
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", attend)
    query, key = (jnp.zeros((3, 4, heads, 8), jnp.bfloat16) for heads in (2, groups))
    attention.attend(query, key, key, np.ones((1, 1, 1, 4), bool), implementation="cudnn")
    rows = 4 * 2 // groups
    assert shapes == [("cudnn", (1, 1, rows, 4), (3, rows, groups, 8))]


def test_precision_and_implementation_are_honoured_or_refused():
    for options, message in (
        ({"implementation": "head_first"}, "heads_first"),
        ({"implementation": "cudnn", "precision": "highest"}, "cudnn"),
    ):
        with pytest.raises(ValueError, match=message):
            attention.attend(*ARRAYS, **options)
    query, key, value = ARRAYS
    with pytest.raises(ValueError, match="a bias is for heads with keys of their own, and here 3 heads share 1"):
        attention.attend(query, key[:, :, :1], value[:, :, :1], bias=jnp.zeros((1, 3, 5, 5)))
    for implementation in ("heads_first", "chunked", "xla"):
        jaxpr = str(
            jax.make_jaxpr(lambda *a, i=implementation: attention.attend(*a, implementation=i, precision="highest"))(
                *ARRAYS
            )
        )
        assert jaxpr.count("HIGHEST") >= 2
