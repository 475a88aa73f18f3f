"""The GANs that are compared: one game each, as published, with networks of one size."""

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import optax

from gendiff.adversarial import constraints, losses, penalties, spectral
from gendiff.adversarial.losses import AdversarialLoss
from gendiff.adversarial.penalties import Penalty

DIFFUSION = "diffusion"
VANILLA, PENALISED, CLIPPED = "vanilla", "gradient-penalty", "clipping"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Numbers of the critics that their methods leave to the data.

    gradient: weight of the gradient penalty. slopes: of R1 and of R2. limit: of clipped weights.
    """

    gradient: float
    slopes: float
    limit: float


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train a GAN.

    title: in tables and figures. penalties, constraint: of `adversarial.make_step`, from the weights. critic_steps: per
    step of the generator. packing: samples that the critic sees as one. features: what of the batch the critic is shown
    (`networks.DenseCritic`). spectral: whether its kernels are divided by their norms.
    optimizer: of both networks, from a learning rate. pace: the rate of both in units of the experiment's.
    """

    title: str
    loss: AdversarialLoss
    penalties: Callable[[Weights], tuple[Penalty, ...]] = lambda weights: ()
    constraint: Callable[[Weights], Any] = lambda weights: None
    critic_steps: int = 1
    packing: int = 1
    features: str = "none"
    spectral: bool = False
    optimizer: Callable[[float], optax.GradientTransformation] = lambda rate: optax.adam(rate, b1=0.5, b2=0.9)
    pace: float = 1.0


def _slopes(weights: Weights) -> tuple[Penalty, ...]:
    return penalties.r1(weights.slopes), penalties.r2(weights.slopes)


METHODS = MappingProxyType(
    {
        VANILLA: Method("GAN", losses.non_saturating()),
        "discrimination": Method("minibatch features", losses.non_saturating(), features="discrimination"),
        "packing": Method("packing, 2 at once", losses.non_saturating(), packing=2),
        CLIPPED: Method(
            "WGAN, clipped",
            losses.wasserstein(),
            constraint=lambda weights: constraints.weight_clipping(weights.limit),
            critic_steps=5,
            optimizer=optax.rmsprop,
            pace=0.5,
        ),
        PENALISED: Method(
            "WGAN-GP",
            losses.wasserstein(),
            penalties=lambda weights: (penalties.gradient(weights.gradient),),
            critic_steps=5,
        ),
        "spectral": Method(
            "hinge, spectral norm", losses.hinge(), constraint=lambda weights: spectral.iterate, spectral=True
        ),
        "r3gan": Method(
            "R3GAN",
            losses.relativistic(),
            penalties=_slopes,
            optimizer=lambda rate: optax.adam(rate, b1=0.0, b2=0.99),
        ),
    }
)
"""By name. `DIFFUSION` is trained beside them and is no GAN."""


def title(name: str) -> str:
    """How a method is called in tables and figures."""
    return METHODS[name].title if name in METHODS else name
