"""The interface of fits of a surface of loss over parameters and tokens."""

from dataclasses import dataclass

from gendiff.scaling.laws import Chinchilla, Frontier
from gendiff.scaling.quantities import Number


@dataclass(frozen=True)
class SurfaceFit:
    """A fitted law, and whether it is at a minimum.

    Args:
        law: fitted.
        objective: what was minimised, at the law.
        gradient_norm: largest entry of its gradient.
        converged: whether the law is at a minimum.
    """

    law: Chinchilla
    objective: float
    gradient_norm: float
    converged: bool

    @property
    def constants(self) -> dict[str, Number]:
        """The fitted numbers by name, with the exponent and the coefficient of the frontier."""
        return self.law.constants

    @property
    def frontier(self) -> Frontier:
        """The power law of the best number of parameters by operations."""
        return self.law.frontier()
