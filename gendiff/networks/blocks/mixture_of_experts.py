"""A mixture of experts (MoE): a router sends each token to a few of several MLPs."""

import dataclasses
from fractions import Fraction

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gendiff.core import checks, packed, trees
from gendiff.core.types import Params
from gendiff.networks import fast
from gendiff.networks.blocks.routing import Routing
from gendiff.networks.layers import Compute, activated, initializers, parameter

ROUTERS = ("top_k", "expert_choice")


@dataclasses.dataclass(frozen=True)
class Experts:
    """Settings of a mixture of experts: the number of MLPs, and how tokens are routed to them.

    Probabilities are the softmax of the router's logits over all experts. What a token gets is the sum of its experts'
    answers, times their weights, which are the probabilities or these over their sum. A token that no expert takes gets
    0, so x passes the block by.

    With a capacity, each expert takes at most ceil(capacity_factor · top_k · tokens / number) tokens of a text, the
    earliest first. Texts do not compete with each other, and padding takes no room. But the last tokens of a text
    depend on how full experts are, so a text that is read in pieces, with a cache, may drop others than one that is
    read at once: give no capacity where that matters.

    Args:
        number: of experts.
        top_k: how many each token goes to.
        capacity_factor: how many times its even share an expert takes at most. None: no token is dropped.
        router: "top_k" lets tokens choose experts; "expert_choice" lets experts choose their capacity of tokens of each
            text, those with the highest probabilities: all experts are full, and a token may get several or none. They
            look at the whole text, so no decoder may have it.
        bias_balanced: choose by probability + `balance`, a parameter per expert without a gradient, which
            `routing.balanced` moves.
        normalised: weights are probabilities over their sum, before tokens are dropped.

    References:
        Shazeer et al., 2017, Eq. 1 to 5, without noise; Fedus et al., 2021, Eq. 1 to 3, for the capacity; Zhou et al.,
        2022, section 3.2, for the choice of experts; Gale et al., 2022, for dropping nothing; Wang et al., 2024, for
        `balance` (from memory).
    """

    number: int = 8
    top_k: int = 2
    capacity_factor: int | float | None = None
    router: str = "top_k"
    bias_balanced: bool = False
    normalised: bool = True

    def __post_init__(self) -> None:
        checks.integer("number", self.number, 1)
        checks.integer("top_k", self.top_k, 1, self.number)
        checks.choice("router", self.router, ROUTERS)
        if self.capacity_factor is not None:
            checks.in_range("capacity_factor", self.capacity_factor, 0.0, float("inf"), open_low=True, open_high=True)
        if self.normalised and self.router == "top_k" and self.top_k == 1 < self.number:
            raise ValueError(
                "top_k = 1 makes every normalised weight 1, from which a router learns nothing: give normalised=False"
            )
        if self.router == "expert_choice" and self.capacity_factor is None:
            raise ValueError(
                "router = 'expert_choice' needs a capacity_factor, which says how many tokens each expert takes"
            )
        if self.router == "expert_choice" and self.bias_balanced:
            raise ValueError("router = 'expert_choice' fills all experts alike, so bias_balanced=True would do nothing")

    def capacities(self, tokens: int) -> np.ndarray:
        """Return (tokens + 1,): how many tokens an expert takes of a text of 0, 1, … `tokens`, at most all of them."""
        count = np.arange(tokens + 1)
        if self.capacity_factor is None:
            return count
        # exact: 1.1 · 10 is 11, which a float exceeds
        share = Fraction(repr(float(self.capacity_factor))) * self.top_k / self.number
        return np.minimum(-(-share.numerator * count // share.denominator), count)


class MixtureOfExperts(nn.Module):
    """The router and its MLPs.

    Args:
        experts: their number and how they are chosen.
        width: of each MLP.
        compute: how to compute.
        activation: see `TransformerBlock`, like the rest.
        gated: multiply the activation of one linear layer by another one.
        bias: whether linear layers have one; the router has none.
    """

    experts: Experts
    width: int
    compute: Compute = Compute()
    activation: str = "silu"
    gated: bool = True
    bias: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s d"], present: Bool[Array, "b s"] | None = None
    ) -> tuple[Float[Array, "b s d"], Routing]:
        """Return the sum of the experts' outputs, and the routing.

        Args:
            x: tokens.
            present: False for padding, which gets 0. None: there is none.
        """
        present = jnp.ones(x.shape[:2], bool) if present is None else present
        kernel = parameter(self, "router", initializers.normal(0.02), (x.shape[-1], self.experts.number))
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        logits = jnp.einsum(
            "bsd,de->bse", x.astype(accumulate), packed.as_array(kernel, accumulate), precision="highest"
        )
        balance = (
            parameter(self, "balance", initializers.zeros, (self.experts.number,))
            if self.experts.bias_balanced
            else None
        )
        layers = [
            ExpertLayer(self.experts.number, (1 + self.gated) * self.width, self.bias, name="mlp_0")(x.shape[-1]),
            ExpertLayer(self.experts.number, x.shape[-1], self.bias, name="mlp_1")(self.width),
        ]
        if self.compute.late:
            x, layers = fast.computed_once(x, layers)
        dtype = self.compute.dtype
        unpacked = [{name: packed.as_array(leaf, dtype) for name, leaf in layer.items()} for layer in layers]
        if self.experts.router == "expert_choice":
            routing, source, filled = expert_choice(logits, present, self.experts)
            return self._in_rooms(x, routing, source, filled, unpacked), routing
        routing, ids = token_choice(logits, present, self.experts, balance)
        if self.experts.capacity_factor is None:
            return self._in_groups(x, routing, ids, unpacked), routing
        return self._in_rooms(x, routing, *_rooms(routing, self.experts), unpacked), routing

    def _in_rooms(
        self, x: jax.Array, routing: Routing, source: jax.Array, filled: jax.Array, layers: list[dict[str, jax.Array]]
    ) -> jax.Array:
        """Each expert's room for each text, (b, e, c), holds the tokens `source` where it is `filled`."""
        rows = jnp.where(filled[..., None], jax.vmap(lambda text, places: text[places])(x, source), 0)

        def linear(rows: jax.Array, layer: dict[str, jax.Array]) -> jax.Array:
            y = jnp.einsum("becd,edf->becf", rows, layer["kernel"], precision=self.compute.precision)
            return y + layer["bias"][None, :, None] if "bias" in layer else y

        y = linear(activated(linear(rows, layers[0]), self.activation, self.gated), layers[1])
        weights = jnp.take_along_axis(routing.weights.swapaxes(1, 2), source, 2)
        y = y * jnp.where(filled, weights, 0).astype(y.dtype)[..., None]
        return jax.vmap(lambda y, places: jnp.zeros(x.shape[1:], y.dtype).at[places].add(y))(y, source)

    def _in_groups(
        self, x: jax.Array, routing: Routing, ids: jax.Array, layers: list[dict[str, jax.Array]]
    ) -> jax.Array:
        """Sort the choices (b, s, k) of all texts by expert, padding last. Each expert gets its part of the rows."""
        last = self.experts.number - 1
        flat = jnp.where(routing.given[..., None], ids, last + 1).reshape(-1)
        order = jnp.argsort(flat)
        token, expert = order // ids.shape[-1], jnp.minimum(flat[order], last)
        sizes = jnp.sum(routing.chosen, (0, 1), dtype=jnp.int32)

        def linear(rows: jax.Array, layer: dict[str, jax.Array]) -> jax.Array:
            y = fast.product_of_groups(rows, layer["kernel"], sizes, self.compute.precision)
            return y + layer["bias"][expert] if "bias" in layer else y

        flat_x = x.reshape(-1, x.shape[-1])
        y = linear(activated(linear(flat_x[token], layers[0]), self.activation, self.gated), layers[1])
        weights = routing.weights.reshape(-1, last + 1)[token, expert].astype(y.dtype)[:, None]
        y = jnp.where(flat[order][:, None] > last, 0, y * weights)
        return jnp.zeros_like(flat_x, y.dtype).at[token].add(y).reshape(x.shape)


class ExpertLayer(nn.Module):
    """The parameters of one linear layer of all experts.

    They are the kernel (number, inputs, features) and the bias (number, features).

    Args:
        number: of experts.
        features: outputs.
        bias: whether there is one.
    """

    number: int
    features: int
    bias: bool

    @nn.compact
    def __call__(self, inputs: int) -> dict[str, jax.Array | packed.PackedKernel]:
        """Return them by name.

        Each expert starts as a single layer does: the number of experts is none of its inputs.
        """
        layer = {
            "kernel": parameter(self, "kernel", initializers.normal(inputs**-0.5), (self.number, inputs, self.features))
        }
        if self.bias:
            layer["bias"] = parameter(self, "bias", initializers.zeros, (self.number, self.features))
        return layer


def token_choice(
    logits: Float[Array, "b s e"],
    present: Bool[Array, "b s"],
    experts: Experts,
    balance: Float[Array, " e"] | None = None,
) -> tuple[Routing, jax.Array]:
    """Let each token choose `top_k` experts, and each expert keep the first tokens that it has room for.

    Args:
        logits: of the router.
        present: False for padding.
        experts: the settings.
        balance: (e,) what is added to probabilities for the choice alone.

    Returns:
        The routing, and the chosen ids (b, s, k).
    """
    probabilities = jax.nn.softmax(logits, -1)
    scores = probabilities if balance is None else probabilities + jax.lax.stop_gradient(balance)[None, None]
    _, ids = jax.lax.top_k(jax.lax.stop_gradient(scores), experts.top_k)
    chosen = jnp.any(ids[..., None] == jnp.arange(experts.number)[None, None, None], -2) & present[..., None]
    limit = jnp.asarray(experts.capacities(present.shape[1]))[jnp.sum(present, 1)]
    taken = chosen & (jnp.cumsum(chosen, 1) <= limit[:, None, None])
    weights = jnp.where(chosen, probabilities, 0)
    if experts.normalised:
        weights = weights / jnp.where(present, weights.sum(-1), 1)[..., None]
    return Routing(logits, chosen, taken, jnp.where(taken, weights, 0), present), ids


def expert_choice(
    logits: Float[Array, "b s e"], present: Bool[Array, "b s"], experts: Experts
) -> tuple[Routing, jax.Array, jax.Array]:
    """Let each expert choose the tokens of each text with the highest probabilities, as many as its capacity.

    Args:
        logits: of the router.
        present: False for padding.
        experts: the settings.

    Returns:
        The routing, the chosen tokens (b, e, c), and which of these places are filled (b, e, c).
    """
    probabilities = jax.nn.softmax(logits, -1)
    capacities = experts.capacities(present.shape[1])
    scores = jax.lax.stop_gradient(jnp.where(present[..., None], probabilities, -1)).swapaxes(1, 2)
    _, source = jax.lax.top_k(scores, int(capacities[-1]))
    filled = jnp.arange(source.shape[-1])[None, None] < jnp.asarray(capacities)[jnp.sum(present, 1)][:, None, None]
    filled = jnp.broadcast_to(filled, source.shape)
    text, expert = jnp.arange(present.shape[0])[:, None, None], jnp.arange(experts.number)[None, :, None]
    taken = jnp.zeros(logits.shape, bool).at[text, source, expert].set(filled)
    weights = jnp.where(taken, probabilities, 0)
    if experts.normalised:
        weights = weights / jnp.where(taken.any(-1), weights.sum(-1), 1)[..., None]
    return Routing(logits, taken, taken, weights, present), source, filled


def active(params: Params, experts: Experts) -> int:
    """Return how many parameters one token meets: all but the experts that it does not go to.

    `networks.count` counts all of them.

    Args:
        params: of a network whose blocks all have these experts.
        experts: the settings.
    """
    sizes = {path: packed.size(leaf) for path, leaf in trees.paths(params, is_leaf=packed.is_packed).items()}
    idle = (
        sum(size for path, size in sizes.items() if "experts/mlp_" in path)
        // experts.number
        * (experts.number - experts.top_k)
    )
    return sum(sizes.values()) - idle


def _rooms(routing: Routing, experts: Experts) -> tuple[jax.Array, jax.Array]:
    """The tokens that each expert kept, earliest first, (b, e, c), and which of these places are filled."""
    tokens = routing.given.shape[1]
    positions = jnp.where(routing.kept, jnp.arange(tokens)[None, :, None], tokens)
    positions = jnp.sort(positions.swapaxes(1, 2), -1)[..., : int(experts.capacities(tokens)[-1])]
    return jnp.minimum(positions, tokens - 1), positions < tokens
