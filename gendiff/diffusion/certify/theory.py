"""What is known of sampling methods before anything is measured: order, start-up, evaluations and source.

An order is stated where a theorem or a proof of a few lines gives it, for smooth data and equal steps in log-SNR; elsewhere it is None,
printed as "—", and nothing is asserted. A method is a sampler's name, with its order or variant where the sampler takes one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Order = int | float
POINT_MASS = "point mass"
LAST_STEP = "last step"
FEW_STEPS = "few steps"


@dataclass(frozen=True)
class Method:
    """The theory of one method.

    order: of end points on the probability flow, for a deterministic method. weak: of its law on Gaussian data, strong: of its end points
    along one Brownian path, for a stochastic one. start_up: how a method that needs history begins. evaluations: of the network, in n
    steps. exact: the cases that it must answer exactly, "point mass" (data at one point, in any number of steps), "last step" (a step to
    sigma = 0 returns the denoised prediction) and "few steps" (finite for 1 … 3 steps of the whole schedule).
    """

    name: str
    order: Order | None = None
    weak: Order | None = None
    strong: Order | None = None
    start_up: str = "—"
    evaluations: str = "n"
    source: str = "—"
    exact: tuple[str, ...] = (FEW_STEPS,)

    @property
    def stated(self) -> dict[str, Order]:
        """The orders that theory gives, by the kind of error: "flow", "weak" and "strong"."""
        orders = {"flow": self.order, "weak": self.weak, "strong": self.strong}
        return {kind: order for kind, order in orders.items() if order is not None}


_ALL = (POINT_MASS, LAST_STEP, FEW_STEPS)
_WEAK = "Kloeden & Platen, 1992, Ch. 14"
_ADAMS = "Hochbruck & Ostermann, 2010, Sec. 2.5"
_SINGLE = "Lu et al., 2022a, Thm. 3.2"
_PNDM = "Liu et al., 2022, Property 3.2"
_FIRST = "one step of order 1"
_CORRECTED = "one step of order 1, corrected to order 2 by the next evaluation"

_TABLE = (
    Method("ddim", order=1, source="Song et al., 2021, Eq. 12; Lu et al., 2022a, Thm. 3.2", exact=_ALL),
    Method("ddim stochastic", weak=1, source=f"Song et al., 2021, Eq. 12; {_WEAK}", exact=_ALL),
    Method("ddpm small", weak=1, source=f"Ho et al., 2020, Sec. 3.2; {_WEAK}", exact=_ALL),
    Method("ddpm large", weak=1, source=f"Ho et al., 2020, Sec. 3.2; {_WEAK}", exact=(LAST_STEP, FEW_STEPS)),
    Method("ddpm learned", source="Nichol & Dhariwal, 2021, Eq. 15", exact=(LAST_STEP, FEW_STEPS)),
    Method("euler", order=1, source="Karras et al., 2022, Eq. 4; Hairer et al., 1993, Thm. II.3.6", exact=_ALL),
    Method("euler_ancestral", weak=1, source=f"Song et al., 2021b, Alg. of App. F; {_WEAK}", exact=_ALL),
    Method("heun", order=2, evaluations="2n - 1", source="Karras et al., 2022, Alg. 1; Hairer et al., 1993, Thm. II.3.6", exact=_ALL),
    # The noise as it is added keeps the marginals, and the rest of a step is Heun's, longer by a share churn / n.
    Method("churn", weak=2, evaluations="2n - 1", source="Karras et al., 2022, Alg. 2, as Heun's method", exact=(POINT_MASS, FEW_STEPS)),
    Method("rk4", order=4, evaluations="4n - 3", source="Hairer et al., 1993, Thm. II.3.6", exact=(LAST_STEP, FEW_STEPS)),
    Method("dpm_solver_multistep 1", order=1, source=_SINGLE, exact=_ALL),
    Method("dpm_solver_multistep 2", order=2, start_up=_FIRST, source=f"Lu et al., 2022b, Alg. 2; {_ADAMS}", exact=_ALL),
    Method("dpm_solver_multistep 3", order=3, start_up=_CORRECTED, source=_ADAMS, exact=_ALL),
    # The second difference of the usual code is half of what it should be: the step is wrong by O(h³).
    Method("dpm_solver_multistep 3 published", order=2, start_up=_FIRST, source="Lu et al., 2022b, as coded", exact=_ALL),
    Method("dpm_solver_multistep 1 sde", weak=1, source=f"Lu et al., 2022b, Eq. 18; {_WEAK}", exact=_ALL),
    Method("dpm_solver_multistep 2 sde", start_up=_FIRST, source="Lu et al., 2022b, App. A", exact=_ALL),
    Method("dpm_solver_multistep 3 sde", start_up=_FIRST, source="Lu et al., 2022b, App. A", exact=_ALL),
    Method("dpm_solver_single 1", order=1, source=_SINGLE, exact=_ALL),
    Method("dpm_solver_single 2", order=2, evaluations="2n - 1", source=f"Lu et al., 2022b, Alg. 1; {_SINGLE}", exact=_ALL),
    Method("dpm_solver_single 3", order=3, evaluations="3n - 2", source=_SINGLE, exact=_ALL),
    Method("dpm_solver_single 1 sde", weak=1, source=f"Lu et al., 2022b, Eq. 18; {_WEAK}", exact=_ALL),
    Method("dpm_solver_single 2 sde", evaluations="2n - 1", source="Lu et al., 2022b, Eq. 18", exact=_ALL),
    Method("unipc 1", order=2, start_up="itself", source="Zhao et al., 2023, Thm. 3.1", exact=_ALL),
    Method("unipc 2", order=3, start_up=_CORRECTED, source="Zhao et al., 2023, Thm. 3.1", exact=_ALL),
    # Order 4 in the theorem; a first step of order 2 leaves an error of O(h³).
    Method("unipc 3", order=3, start_up=_CORRECTED, source="Zhao et al., 2023, Thm. 3.1", exact=_ALL),
    Method("deis 1", order=1, source=_SINGLE, exact=_ALL),
    Method("deis 2", order=2, start_up=_FIRST, source=f"Zhang & Chen, 2023, Eq. 15; {_ADAMS}", exact=_ALL),
    Method("deis 3", order=3, start_up=_CORRECTED, source=f"Zhang & Chen, 2023, Eq. 15; {_ADAMS}", exact=_ALL),
    Method("deis 4", order=3, start_up=_CORRECTED, source=f"Zhang & Chen, 2023, Eq. 15; {_ADAMS}", exact=_ALL),
    Method("deis 3 plain", order=2, start_up=_FIRST, source=f"Zhang & Chen, 2023, Eq. 15; {_ADAMS}", exact=_ALL),
    Method("pndm", order=2, start_up="one step of Heun", evaluations="n + 1", source=_PNDM, exact=_ALL),
    Method("pndm runge_kutta", order=2, start_up="three Runge-Kutta steps", evaluations="n + 9", source=_PNDM, exact=_ALL),
    Method("reversible_heun", order=2, start_up="the start as companion", source="Kidger et al., 2021, Alg. 1", exact=_ALL),
    Method("predictor_corrector", evaluations="2n - 1", source="Song et al., 2021b, Alg. 3-5", exact=(LAST_STEP, FEW_STEPS)),
    # Of a step that adds noise independent of x: Euler-Maruyama is then Milstein's method.
    Method("fixed_path", strong=1, source="Kloeden & Platen, 1992, Sec. 10.3", exact=(LAST_STEP, FEW_STEPS)),
)
METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _TABLE})
"""By name. Two methods are one entry only if theory says the same of both."""
