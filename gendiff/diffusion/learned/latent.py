"""Losses of an autoencoder for latent diffusion: reconstruction, divergence or commitment, perceptual, adversarial.

A bottleneck says how a picture goes through the autoencoder and what that costs; a loss compares what comes out. Errors
are means over the numbers of a picture. The divergence is a sum over the latent, divided by how many those are, so that
it stands to the error as where both are sums, and published weights keep their meaning.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records, trees
from gendiff.core.types import ArrayLike, Loss, Metrics, Numeric, Params, PyTree, Scalar
from gendiff.diffusion import objectives
from gendiff.diffusion.types import Batch

if TYPE_CHECKING:
    from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian
    from gendiff.networks.images.vq_autoencoder import Quantized

Encode = Callable[[Params, jax.Array], "DiagonalGaussian"]
Decode = Callable[[Params, jax.Array], jax.Array]
Reconstruct = Callable[[Params, jax.Array], tuple[jax.Array, "Quantized"]]
Maps = Callable[[jax.Array], PyTree]
"""Pictures (b, h, w, c) -> a pytree of feature maps (b, …, d), differentiable."""
DISTANCES: dict[str, Callable[[jax.Array], jax.Array]] = {"l1": jnp.abs, "l2": jnp.square}
LAST_LAYER = "decoder/output/kernel"
PARTS = ("autoencoder", "discriminator")

# --- bottlenecks ---


@records.record
class Reconstruction:
    """What came out of an autoencoder.

    Args:
        image: (b, h, w, c).
        penalty: () what the loss adds for the way through.
        metrics: of the way through.
    """

    image: jax.Array
    penalty: jax.Array
    metrics: Metrics


Bottleneck = Callable[[Params, jax.Array, jax.Array], Reconstruction]
"""(params, key, pictures (b, h, w, c)) -> Reconstruction."""


@records.record
class GaussianBottleneck:
    """The bottleneck of `gaussian_bottleneck`."""

    encode: Encode = records.static()
    decode: Decode = records.static()
    weight: Numeric = 1e-6

    def __call__(self, params: Params, key: jax.Array, x: Float[Array, "b h w c"]) -> Reconstruction:
        """Encode, draw, decode."""
        gaussian = self.encode(params, x)
        nats = jnp.mean(gaussian.kl())
        image = self.decode(params, gaussian.sample(key, jnp.arange(x.shape[0])))
        return Reconstruction(image, self.weight * nats / math.prod(x.shape[1:]), {"kl": nats})


def gaussian_bottleneck(encode: Encode, decode: Decode, *, weight: Scalar = 1e-6) -> Bottleneck:
    """Draw a latent from the Gaussian of each picture; the penalty is weight · KL(z || N(0, 1)) / numbers of a picture.

    The metric `kl` is in nats per picture.

    Args:
        encode: (params, x) -> a `DiagonalGaussian`, as `networks.pure(autoencoder, "encode")`.
        decode: (params, latent) -> pictures.
        weight: () at least 0.

    Raises:
        ValueError: for a negative weight.

    References:
        Kingma & Welling, 2014, Eq. 10; Rombach et al., 2022, App. G, for the weight 1e-6 (from memory).
    """
    checks.in_range("weight", weight, 0.0, math.inf, open_high=True)
    return GaussianBottleneck(encode, decode, weight)


@records.record
class CodebookBottleneck:
    """The bottleneck of `codebook_bottleneck`."""

    reconstruct: Reconstruct = records.static()
    commitment: Numeric = 0.25

    def __call__(self, params: Params, key: jax.Array, x: Float[Array, "b h w c"]) -> Reconstruction:
        """Encode, quantise, decode; there is no chance in it."""
        image, quantized = self.reconstruct(params, x)
        codebook = jnp.mean(quantized.codebook_loss)
        penalty = codebook + self.commitment * jnp.mean(quantized.commitment_loss)
        return Reconstruction(
            image, penalty, {"codebook": codebook, "perplexity": quantized.perplexity(), "usage": quantized.usage()}
        )


def codebook_bottleneck(reconstruct: Reconstruct, *, commitment: Scalar = 0.25) -> Bottleneck:
    """Take the nearest entries of a codebook; the penalty is |sg(z) − e|² + commitment · |z − sg(e)|², averaged.

    Metrics are `codebook`, the squared distance to the entries; `perplexity`, how many entries are in use; and `usage`,
    their share.

    Args:
        reconstruct: (params, x) -> (pictures, `Quantized`), as `networks.pure(vq_autoencoder, "reconstruct")`.
        commitment: () at least 0, beta.

    Raises:
        ValueError: for a negative commitment.

    References:
        van den Oord et al., 2017, Eq. 3; Esser et al., 2021, Eq. 4.
    """
    checks.in_range("commitment", commitment, 0.0, math.inf, open_high=True)
    return CodebookBottleneck(reconstruct, commitment)


# --- reconstruction ---


@records.record
class AutoencodingLoss:
    """The loss of `autoencoding`."""

    bottleneck: Bottleneck
    distance: str = records.static()
    maps: Maps | None = records.static()
    perceptual_weight: Numeric = 1.0

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, _ = objectives.parts_of(batch)
        result = self.bottleneck(params, key, clean)
        error, metrics = self.error(result.image, clean)
        return error + result.penalty, metrics | result.metrics

    def error(self, image: Float[Array, "..."], clean: Float[Array, "..."]) -> tuple[Float[Array, ""], Metrics]:
        """How far pictures are from the clean ones, and the parts of that."""
        if image.shape != clean.shape:
            raise TypeError(
                f"the autoencoder gave shape {image.shape} for pictures of shape {clean.shape}: they must be equal"
            )
        pixels = jnp.mean(DISTANCES[self.distance](image - clean))
        if self.maps is None:
            return pixels, {"reconstruction": pixels}
        perceived = perceptual(self.maps, image, clean)
        return pixels + self.perceptual_weight * perceived, {"reconstruction": pixels, "perceptual": perceived}


def autoencoding(
    bottleneck: Bottleneck, *, distance: str = "l1", maps: Maps | None = None, perceptual_weight: Scalar = 1.0
) -> Loss:
    """Mean distance of pixels, plus the perceptual distance, plus the penalty of the bottleneck.

    Args:
        bottleneck: of `gaussian_bottleneck` or `codebook_bottleneck`.
        distance: "l1", the absolute difference, or "l2", its square.
        maps: the feature function of `perceptual`; None leaves that out.
        perceptual_weight: () at least 0.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics), with metrics `reconstruction`, `perceptual` and those of the
        bottleneck. The batch is a `diffusion.Batch`, of whose conditions an autoencoder knows nothing.

    Raises:
        ValueError: for an unknown distance or a negative weight.

    References:
        Rombach et al., 2022, Eq. 25 (from memory).
    """
    checks.choice("distance", distance, DISTANCES)
    checks.in_range("perceptual_weight", perceptual_weight, 0.0, math.inf, open_high=True)
    return AutoencodingLoss(bottleneck, distance, maps, perceptual_weight)


def perceptual(
    maps: Maps, image: Float[ArrayLike, "b *shape"], clean: Float[ArrayLike, "b *shape"]
) -> Float[Array, ""]:
    """Squared distance of unit feature vectors, summed over maps, averaged over positions and pictures.

    Args:
        maps: the feature function. What it needs, such as parameters of another network, it brings with it.
        image: (b, …) pictures.
        clean: (b, …) those they should look like.

    References:
        Zhang et al., 2018, Eq. 1, with weights 1 (from memory).
    """

    def between(first: jax.Array, second: jax.Array) -> jax.Array:
        return jnp.mean(jnp.sum(jnp.square(_unit(first) - _unit(second)), axis=-1))

    return jax.tree.reduce(jnp.add, jax.tree.map(between, maps(jnp.asarray(image)), maps(jnp.asarray(clean))))


def _unit(features: jax.Array) -> jax.Array:
    return features * jax.lax.rsqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True) + 1e-10)


# --- the adversary ---


def hinge_judging(real: Float[Array, "..."], fake: Float[Array, "..."]) -> Float[Array, ""]:
    """The hinge loss of a discriminator: (mean max(0, 1 − real) + mean max(0, 1 + fake)) / 2, of its two outputs.

    References:
        Lim & Ye, 2017, section 3 (from memory).
    """
    return (jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))) / 2


def hinge_fooling(fake: Float[Array, "..."]) -> Float[Array, ""]:
    """What the autoencoder loses to it: −mean of its answers to decoded pictures."""
    return -jnp.mean(fake)


def adaptive_weight(
    error_slope: PyTree, fooling_slope: PyTree, *, delta: Scalar = 1e-6, most: Scalar = 1e4
) -> Float[Array, ""]:
    """|error_slope| / (|fooling_slope| + delta), at most `most`: then both losses move the last layer alike.

    No gradient passes.

    Args:
        error_slope: gradient of the error by the decoder's last layer, any pytree.
        fooling_slope: that of the adversarial loss.
        delta: () added to the denominator.
        most: () the largest weight.

    References:
        Esser et al., 2021, Eq. 7, with delta = 1e-6; their code has 1e-4 and clips at 1e4 (from memory).
    """
    ratio = _norm(error_slope) / (_norm(fooling_slope) + jnp.asarray(delta))
    return jax.lax.stop_gradient(jnp.minimum(ratio, jnp.asarray(most)))


def _norm(tree: PyTree) -> jax.Array:
    return arrays.safe_sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


@records.record
class AdversarialAutoencoding:
    """The loss of `adversarial`."""

    loss: AutoencodingLoss
    discriminate: Callable[[Params, jax.Array], jax.Array] = records.static()
    last_layer: str = records.static()
    weight: Numeric = 0.5
    delta: Scalar = 1e-6
    most: Scalar = 1e4

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, _ = objectives.parts_of(batch)
        autoencoder, judge = (_part(params, name) for name in PARTS)
        kernels = trees.paths(autoencoder)
        if self.last_layer not in kernels:
            raise ValueError(
                f"last_layer = {self.last_layer!r} is no parameter of the autoencoder, which has {', '.join(kernels)}"
            )

        def decoded(kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
            result = self.loss.bottleneck(_replaced(autoencoder, self.last_layer.split("/"), kernel), key, clean)
            return result.image, (result.penalty, result.metrics)

        image, to_kernel, (penalty, passed) = jax.vjp(decoded, kernels[self.last_layer], has_aux=True)
        (error, errors), error_slope = jax.value_and_grad(self.loss.error, has_aux=True)(image, clean)
        fooling, fooling_slope = jax.value_and_grad(
            lambda image: hinge_fooling(self.discriminate(_fixed(judge), image))
        )(image)
        factor = adaptive_weight(to_kernel(error_slope), to_kernel(fooling_slope), delta=self.delta, most=self.most)
        real, fake = self.discriminate(judge, clean), self.discriminate(judge, _fixed(image))
        judging = hinge_judging(real, fake)
        own_metrics = {"adversarial": fooling, "adaptive_weight": factor, "discriminator": judging}
        answers = {"real": jnp.mean(real), "fake": jnp.mean(fake)}
        return error + penalty + self.weight * factor * fooling + judging, errors | passed | own_metrics | answers


def adversarial(
    loss: Loss,
    discriminate: Callable[[Params, jax.Array], jax.Array],
    *,
    weight: Scalar = 0.5,
    delta: Scalar = 1e-6,
    most: Scalar = 1e4,
    last_layer: str = LAST_LAYER,
) -> Loss:
    """Train an autoencoder and its discriminator at once: one loss of {"autoencoder": params, "discriminator": params}.

    The autoencoder gets the gradient of error + penalty + weight · adaptive weight · fooling, the discriminator that of
    judging, both at the same parameters. The scalar is the sum of all, so it need not fall. Begin without this loss, or
    with weight 0, until pictures look right: the paper's code starts the adversary late.

    Args:
        loss: of `autoencoding`. The adaptive weight looks at its error, perceptual part included, without the penalty.
        discriminate: (params, pictures) -> answers of any shape, larger for real pictures.
        weight: () at least 0, data under jit.
        delta: () of `adaptive_weight`.
        most: () of `adaptive_weight`.
        last_layer: path of the kernel of the decoder's last layer in the parameters of the autoencoder.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics). To the metrics of `loss` it adds `adversarial`,
        `adaptive_weight`, `discriminator`, and the mean answers `real` and `fake`.

    Raises:
        TypeError: for another loss.
        ValueError: for numbers below 0; when called, for parameters without these parts or without that layer.

    References:
        Esser et al., 2021, Eqs. 5 to 7, with the hinge loss of their code (from memory).
    """
    if not isinstance(loss, AutoencodingLoss):
        raise TypeError(f"loss must be one of latent.autoencoding, got {type(loss).__name__}")
    for name, value in (("weight", weight), ("delta", delta), ("most", most)):
        checks.in_range(name, value, 0.0, math.inf, open_high=True)
    return AdversarialAutoencoding(loss, discriminate, last_layer, weight, delta, most)


def _part(params: Params, name: str) -> Params:
    if not isinstance(params, Mapping) or set(params) != set(PARTS):
        got = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        raise ValueError(f"params must be {{'autoencoder': …, 'discriminator': …}}, got {got}")
    return params[name]


def _replaced(tree: PyTree, path: list[str], value: jax.Array) -> PyTree:
    return {**tree, path[0]: value if len(path) == 1 else _replaced(tree[path[0]], path[1:], value)}


def _fixed(tree: PyTree) -> PyTree:
    return jax.tree.map(jax.lax.stop_gradient, tree)
