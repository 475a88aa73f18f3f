"""Tables of all losses and penalties: how each is built, its source, and its properties without training.

The contract tests, the experiments and the documentation read these tables. A new one is one function and one line
here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gendiff.adversarial import losses, penalties
from gendiff.adversarial.losses import AdversarialLoss
from gendiff.adversarial.penalties import Penalty

SHIFT_INVARIANT = "shift-invariant"
ZERO_SUM = "zero-sum"
SATURATING = "saturating"
PAIRED = "paired"
RANDOM = "random"
READS_REAL = "reads real"
READS_FAKE = "reads fake"


@dataclass(frozen=True)
class ListedLoss:
    """One loss of both players.

    Args:
        name: the function that makes it.
        make: builds it with its published settings.
        source: where it is stated.
        facts: "shift-invariant": a constant added to all logits changes neither loss's gradient. "zero-sum": what the
            critic loses on generated samples the generator wins. "saturating": the generator's gradient vanishes where
            the critic is sure. "paired": the generator's loss reads real logits, row by row. What is not listed does
            not hold.
    """

    name: str
    make: Callable[[], AdversarialLoss]
    source: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedPenalty:
    """One penalty of the critic's slope.

    Args:
        name: the function that makes it.
        make: builds it, of a weight.
        source: where it is stated.
        facts: "random": it draws where it looks. "reads real", "reads fake": it depends on these samples. What is not
            listed does not hold.
    """

    name: str
    make: Callable[[float], Penalty]
    source: str
    facts: tuple[str, ...] = ()


_LOSSES = (
    ListedLoss("non_saturating", losses.non_saturating, "Goodfellow et al., 2014, Sec. 3"),
    ListedLoss("minimax", losses.minimax, "Goodfellow et al., 2014, Eq. 1", (ZERO_SUM, SATURATING)),
    ListedLoss("hinge", losses.hinge, "Lim & Ye, 2017; Miyato et al., 2018, Eqs. 16, 17"),
    ListedLoss("wasserstein", losses.wasserstein, "Arjovsky et al., 2017, Alg. 1", (SHIFT_INVARIANT, ZERO_SUM)),
    ListedLoss("relativistic", losses.relativistic, "Jolicoeur-Martineau, 2018, RSGAN", (SHIFT_INVARIANT, PAIRED)),
)
_PENALTIES = (
    ListedPenalty("gradient", penalties.gradient, "Gulrajani et al., 2017, Eq. 3", (RANDOM, READS_REAL, READS_FAKE)),
    ListedPenalty("r1", penalties.r1, "Mescheder et al., 2018, Eq. 9", (READS_REAL,)),
    ListedPenalty("r2", penalties.r2, "Mescheder et al., 2018, Eq. 10", (READS_FAKE,)),
)

LOSSES: Mapping[str, ListedLoss] = MappingProxyType({listed.name: listed for listed in _LOSSES})
"""By name."""
PENALTIES: Mapping[str, ListedPenalty] = MappingProxyType({listed.name: listed for listed in _PENALTIES})
"""By name."""
