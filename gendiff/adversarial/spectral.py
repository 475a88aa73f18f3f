"""Spectral normalisation: each kernel of a critic divided by its largest singular value, which power iteration follows.

There is no hidden state. The critic's parameters become a tree {"network": params, "vectors": one unit vector per
kernel}; the optimizer sees all of it, and the vectors have the gradient 0. `normalised(criticise)` takes such a tree in
the place of params, and `iterate` is the constraint that moves the vectors after each update.

A kernel is every floating leaf with two or more axes, embeddings included. A kernel (…, in, out) counts as the matrix K
of shape (prod(…, in), out), as in the paper. For a layer that is a product with K the singular value is its Lipschitz
constant. For a convolution it is not: the layer can stretch its input by more, at most by the root of the number of
places that one kernel covers. A grouped convolution stretches by less than its matrix says. A kernel that starts at
zeros is divided by its norm as soon as it has one, so a layer that should begin without effect has norm 1 after one
update.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records, trees
from gendiff.core.types import ArrayLike, Condition, Count, DType, Params

PARTS = ("network", "vectors")


@records.record
class NormalisedCritic:
    """Built by `normalised`."""

    criticise: Callable[..., jax.Array] = records.static()

    def __call__(self, tree: Params, x: ArrayLike, *condition: Condition, **options: object) -> jax.Array:
        """Logits (b,) of the critic whose kernels are divided by their norms.

        Args:
            tree: of `start`.
            x: (b, …) samples.
            *condition: of the critic.
            **options: of the critic.

        Raises:
            ValueError: for parameters that do not come from `start`.
        """
        network, vectors = _parts(tree)

        def one(path: tuple[object, ...], leaf: ArrayLike) -> ArrayLike:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            if name not in vectors:
                return leaf
            return leaf * arrays.safe_divide(1.0, norm(leaf, vectors[name]), otherwise=1.0).astype(leaf.dtype)

        return self.criticise(jax.tree_util.tree_map_with_path(one, network), x, *condition, **options)


def start(key: jax.Array, params: Params, iterations: Count = 15) -> Params:
    """Parameters of a critic with a unit vector for each of its kernels.

    Args:
        key: one typed key, for the directions in which power iteration begins.
        params: of the critic, any pytree of arrays.
        iterations: () how many power iterations to begin with, at least 0, data under jit. The estimate of a norm is
            never above it, so a critic with fresh vectors would be steeper than 1 at first.

    Returns:
        {"network": params, "vectors": {path of the kernel: (out,)}}. A network within that is called with "network"
        alone is not normalised.

    Raises:
        TypeError: for a key that is not typed.
        ValueError: for parameters without a kernel.

    References:
        Miyato et al., 2018, Algorithm 1 (from memory). The stored vector, on the side of the outputs, is the only one
        that it keeps.
    """
    checks.one_key("key", key)
    checks.integer("iterations", iterations)
    kernels = {
        path: leaf
        for path, leaf in trees.paths(params).items()
        if jnp.ndim(leaf) >= 2 and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    }
    if not kernels:
        leaves = ", ".join(trees.paths(params)) or "nothing"
        raise ValueError(f"params have no floating leaf with two axes or more to normalise, only {leaves}")

    def fresh(number: int, kernel: ArrayLike) -> jax.Array:
        direction = jax.random.normal(
            jax.random.fold_in(key, number), kernel.shape[-1:], arrays.at_least_float32(kernel.dtype)
        )
        unit = direction / jnp.linalg.norm(direction)
        vector: jax.Array = jax.lax.fori_loop(0, iterations, lambda _, vector: power_iteration(kernel, vector), unit)
        return vector

    return {
        "network": params,
        "vectors": {path: fresh(number, kernel) for number, (path, kernel) in enumerate(kernels.items())},
    }


def normalised(criticise: Callable[..., jax.Array]) -> NormalisedCritic:
    """The critic with each kernel K over its norm u'Kv, as a function (tree, x, *condition) -> logits.

    The gradient is that of K / u'Kv with u and v as constants: it has no part along K itself, since a
    multiple of K gives the same critic. A kernel that is all zeros stays so, and has the gradient of an undivided one.

    Args:
        criticise: (params, x, *condition) -> logits (b,), such as `networks.pure(critic)`.

    References:
        Miyato et al., 2018, Eq. 8 and, for the gradient, Eqs. 10 to 12 (from memory).
    """
    return NormalisedCritic(criticise)


def iterate(tree: Params) -> Params:
    """One power iteration of each vector; the network as it is.

    Call it after each update of the critic, as a constraint of its step.

    The vectors are of unit length again, also after an optimizer with weight decay has made them shorter.

    Raises:
        ValueError: for parameters that do not come from `start`.

    References:
        Miyato et al., 2018, Algorithm 1, step 1 (from memory).
    """
    network, vectors = _parts(tree)
    kernels = trees.paths(network)
    return {
        "network": network,
        "vectors": {path: power_iteration(kernels[path], vector) for path, vector in vectors.items()},
    }


def norms(tree: Params) -> dict[str, Float[Array, ""]]:
    """The estimated largest singular value () of each kernel, by its path.

    Raises:
        ValueError: for parameters that do not come from `start`.
    """
    network, vectors = _parts(tree)
    kernels = trees.paths(network)
    return {path: norm(kernels[path], vector) for path, vector in vectors.items()}


def norm(kernel: Float[ArrayLike, "*place d e"], vector: Float[ArrayLike, "e"]) -> Float[Array, ""]:
    """The estimate u'Kv of the largest singular value of K, with u = Kv / |Kv|: |Kv|, never above it.

    No gradient passes by v.

    Args:
        kernel: (…, in, out), the matrix K of shape (prod(…, in), out).
        vector: (out,) of unit length, v.
    """
    v = jax.lax.stop_gradient(jnp.asarray(vector))
    matrix = _matrix(kernel, v.dtype)
    left = jax.lax.stop_gradient(_unit(matrix @ v, jnp.zeros(matrix.shape[0], v.dtype)))
    return left @ matrix @ v


def power_iteration(kernel: Float[ArrayLike, "*place d e"], vector: Float[ArrayLike, "e"]) -> Float[Array, "e"]:
    """The unit vector along K'Kv: nearer to the right singular vector of the largest singular value.

    A kernel of zeros leaves v as it is.

    Args:
        kernel: (…, in, out), the matrix K of shape (prod(…, in), out).
        vector: (out,) of unit length, v.
    """
    v = jax.lax.stop_gradient(jnp.asarray(vector))
    matrix = jax.lax.stop_gradient(_matrix(kernel, v.dtype))
    left = _unit(matrix @ v, jnp.zeros(matrix.shape[0], v.dtype))
    return _unit(matrix.T @ left, v)


def _matrix(kernel: ArrayLike, dtype: DType) -> jax.Array:
    return jnp.asarray(kernel, dtype).reshape(-1, kernel.shape[-1])


def _unit(vector: jax.Array, otherwise: jax.Array) -> jax.Array:
    length = arrays.safe_sqrt(jnp.sum(vector**2))
    return jnp.where(length > 0, arrays.safe_divide(vector, length), otherwise)


def _parts(tree: Params) -> tuple[Params, dict[str, jax.Array]]:
    if not isinstance(tree, dict) or set(tree) != set(PARTS):
        kind = sorted(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
        raise ValueError(
            f"the parameters of a normalised critic are {{'network': …, 'vectors': …}} of spectral.start, got {kind}"
        )
    return tree["network"], tree["vectors"]
