"""Every sampling method once: how it is made, and what is known of it before anything is measured.

The contract tests, certification, the experiments, the command line and the documentation read this table. A new
sampler is one file and one line here.

An order is stated where a theorem or a proof of a few lines gives it, for smooth data and equal steps in log-SNR.
Elsewhere it is None, and nothing is asserted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gendiff.diffusion.samplers.ancestral import ddim, ddpm
from gendiff.diffusion.samplers.churn import churn
from gendiff.diffusion.samplers.deis import deis
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep as multistep
from gendiff.diffusion.samplers.dpm_solver_single import dpm_solver_single as single
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral
from gendiff.diffusion.samplers.fixed_path import fixed_path
from gendiff.diffusion.samplers.pndm import pndm
from gendiff.diffusion.samplers.predictor_corrector import predictor_corrector
from gendiff.diffusion.samplers.reversible_heun import reversible_heun
from gendiff.diffusion.samplers.runge_kutta import euler, heun, rk4
from gendiff.diffusion.samplers.unipc import unipc
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule

Order = int | float
POINT_MASS = "point mass"
LAST_STEP = "last step"
FEW_STEPS = "few steps"
TIME = "time"
PURE_NOISE = "pure noise"


@dataclass(frozen=True)
class Method:
    """One method: a sampler with its settings, and its theory.

    Args:
        name: the function that makes it, and a word for each setting that matters.
        order: of end points on the probability flow, for a deterministic method.
        weak: of its law on Gaussian data, for a stochastic method.
        strong: of its end points along one Brownian path, for a stochastic method.
        start_up: how a method that needs history begins.
        evaluations: of the network in n steps, for people; `Sampler.evaluations` is the same for programs.
        source: where the method and its order are stated.
        exact: the cases that it must answer exactly. "point mass": data at one point, in any number of steps. "last
            step": a step to sigma = 0 returns the denoised prediction. "few steps": finite for 1 … 3 steps of the whole
            schedule. "time": the network is told the t of its level. "pure noise": point mass and last step, as far as
            they are in this list, hold from the noisiest level of the schedule as well.
        call: how a user writes it, with `schedule` where it needs one.
        make: the sampler for a schedule. None for a method that is not the library's own.
        family: the methods that are shown together.
        label: its name in a figure, empty for a method that draws the curve of another one.
        numbers: for each of its fields that is data under jit, two values that it may have.
        learned_variance: whether the denoiser must predict `variance_share`.
        along_path: whether its noise comes from Brownian paths, which need diffrax.
    """

    name: str
    order: Order | None = None
    weak: Order | None = None
    strong: Order | None = None
    start_up: str = "—"
    evaluations: str = "n"
    source: str = "—"
    exact: tuple[str, ...] = (FEW_STEPS, TIME)
    call: str = ""
    make: Callable[[Schedule], Sampler] | None = field(default=None, compare=False)
    family: str = ""
    label: str = ""
    numbers: tuple[tuple[str, tuple[float, float]], ...] = ()
    learned_variance: bool = False
    along_path: bool = False

    @property
    def id(self) -> str:
        """The call as a word of letters, digits, hyphens and underscores, such as ddim-0-6: for commands and claims."""
        return "-".join("".join(letter if letter.isalnum() or letter == "_" else " " for letter in self.call).split())

    @property
    def stated(self) -> dict[str, Order]:
        """The orders that theory gives, by the kind of error: "flow", "weak" and "strong"."""
        orders = {"flow": self.order, "weak": self.weak, "strong": self.strong}
        return {kind: order for kind, order in orders.items() if order is not None}


_ALL = (POINT_MASS, LAST_STEP, FEW_STEPS, TIME, PURE_NOISE)
_ENDS = (LAST_STEP, FEW_STEPS, TIME, PURE_NOISE)
_ETA = (("eta", (0.3, 0.8)),)
_SDE = (("eta", (0.5, 1.0)),)
_FIRST = "one step of order 1"
_CORRECTED = "one step of order 1, corrected to order 2 by the next evaluation"

_WEAK = "Kloeden & Platen, 1992, Ch. 14"
_RUNGE = "Hairer et al., 1993, Thm. II.3.6"
_ADAMS = "Hochbruck & Ostermann, 2010, Sec. 2.5"
_SINGLE = "Lu et al., 2022a, Thm. 3.2"
_UNIPC = "Zhao et al., 2023, Thm. 3.1"
_DEIS = f"Zhang & Chen, 2023, Eq. 15; {_ADAMS}"
_MULTI = f"Lu et al., 2022b, Alg. 2; {_ADAMS}"
_ANCESTRAL = f"Ho et al., 2020, Sec. 3.2; {_WEAK}"
_SDE_FORM = f"Lu et al., 2022b, Eq. 18; {_WEAK}"
_PNDM = "Liu et al., 2022, Property 3.2"


def _own(
    name: str,
    make: Callable[[Schedule], Sampler],
    label: str,
    *,
    exact: tuple[str, ...] = _ALL,
    call: str = "",
    **theory: Any,  # other fields of Method
) -> Method:
    function, *words = name.split()
    plain = f"{function}({', '.join(word for word in words if word.isdigit())})"  # "unipc 2" is called as unipc(2)
    return Method(name, exact=exact, call=call or plain, make=make, label=label, **theory)


_FAMILIES: dict[str, tuple[Method, ...]] = {
    "Runge-Kutta": (
        _own("ddim", lambda _: ddim(), "DDIM, Euler", order=1, source=f"Song et al., 2021, Eq. 12; {_SINGLE}"),
        _own("euler", lambda _: euler(), "", order=1, source=f"Karras et al., 2022, Eq. 4; {_RUNGE}"),
        _own(
            "heun",
            lambda _: heun(),
            "Heun",
            order=2,
            evaluations="2n - 1",
            source=f"Karras et al., 2022, Alg. 1; {_RUNGE}",
        ),
        _own("rk4", rk4, "RK4", call="rk4(schedule)", order=4, evaluations="4n - 3", source=_RUNGE, exact=_ENDS),
    ),
    "DPM-Solver++ multistep": (
        _own("dpm_solver_multistep 1", lambda _: multistep(1), "", order=1, source=_SINGLE),
        _own("dpm_solver_multistep 2", lambda _: multistep(2), "2M", order=2, start_up=_FIRST, source=_MULTI),
        _own(
            "dpm_solver_multistep 2 exact",
            lambda _: multistep(2, formula="exact"),
            "2M exact",
            call='dpm_solver_multistep(2, formula="exact")',
            order=2,
            start_up=_FIRST,
            source=_MULTI,
        ),
        _own("dpm_solver_multistep 3", lambda _: multistep(3), "3M", order=3, start_up=_CORRECTED, source=_ADAMS),
        # The second difference of the usual code is half of what it should be: the step is wrong by O(h³).
        _own(
            "dpm_solver_multistep 3 published",
            lambda _: multistep(3, formula="published"),
            "3M published",
            call='dpm_solver_multistep(3, formula="published")',
            order=2,
            start_up=_FIRST,
            source="Lu et al., 2022b, as coded",
        ),
    ),
    "DPM-Solver++ single step": (
        _own(
            "dpm_solver_single 1",
            lambda schedule: single(schedule, 1),
            "",
            call="dpm_solver_single(schedule, 1)",
            order=1,
            source=_SINGLE,
        ),
        _own(
            "dpm_solver_single 2",
            lambda schedule: single(schedule, 2),
            "2S",
            call="dpm_solver_single(schedule, 2)",
            order=2,
            evaluations="2n - 1",
            source=f"Lu et al., 2022b, Alg. 1; {_SINGLE}",
        ),
        _own(
            "dpm_solver_single 3",
            lambda schedule: single(schedule, 3),
            "3S",
            call="dpm_solver_single(schedule, 3)",
            order=3,
            evaluations="3n - 2",
            source=_SINGLE,
        ),
    ),
    "UniPC": (
        _own("unipc 1", lambda _: unipc(1), "1", order=2, start_up="itself", source=_UNIPC),
        _own("unipc 2", lambda _: unipc(2), "2", order=3, start_up=_CORRECTED, source=_UNIPC),
        _own(
            "unipc 2 bh1",
            lambda _: unipc(2, variant="bh1"),
            "2 bh1",
            call='unipc(2, variant="bh1")',
            order=3,
            start_up=_CORRECTED,
            source=_UNIPC,
        ),
        # Order 4 in the theorem; a first step of order 2 leaves an error of O(h³).
        _own("unipc 3", lambda _: unipc(3), "3", order=3, start_up=_CORRECTED, source=_UNIPC),
    ),
    "DEIS": (
        _own("deis 1", lambda _: deis(1), "", order=1, source=_SINGLE),
        _own("deis 2", lambda _: deis(2), "2", order=2, start_up=_FIRST, source=_DEIS),
        _own("deis 3", lambda _: deis(3), "3", order=3, start_up=_CORRECTED, source=_DEIS),
        _own(
            "deis 3 ratio",
            lambda _: deis(3, variable="ratio"),
            "3 ratio",
            call='deis(3, variable="ratio")',
            order=3,
            start_up=_CORRECTED,
            source=_DEIS,
        ),
        _own(
            "deis 3 plain",
            lambda _: deis(3, start="plain"),
            "3 plain",
            call='deis(3, start="plain")',
            order=2,
            start_up=_FIRST,
            source=_DEIS,
        ),
        _own("deis 4", lambda _: deis(4), "4", order=3, start_up=_CORRECTED, source=_DEIS),
    ),
    "PNDM and reversible Heun": (
        _own("pndm", lambda _: pndm(), "PLMS", order=2, start_up="one step of Heun", evaluations="n + 1", source=_PNDM),
        _own(
            "pndm runge_kutta",
            pndm,
            "F-PNDM",
            call="pndm(schedule)",
            order=2,
            start_up="three Runge-Kutta steps",
            evaluations="n + 9",
            source=_PNDM,
        ),
        _own(
            "reversible_heun",
            lambda _: reversible_heun(),
            "reversible Heun",
            order=2,
            start_up="the start as companion",
            source="Kidger et al., 2021, Alg. 1",
        ),
    ),
    "ancestral": (
        _own(
            "ddim stochastic",
            lambda _: ddim(0.6),
            "DDIM, eta 0.6",
            call="ddim(0.6)",
            weak=1,
            source=f"Song et al., 2021, Eq. 12; {_WEAK}",
            numbers=_ETA,
        ),
        _own("ddpm small", lambda _: ddpm(), "DDPM", weak=1, source=_ANCESTRAL),
        _own(
            "ddpm large",
            lambda _: ddpm("large"),
            "DDPM large",
            call='ddpm("large")',
            weak=1,
            source=_ANCESTRAL,
            exact=_ENDS,
        ),
        _own(
            "ddpm learned",
            lambda _: ddpm("learned"),
            "DDPM half-way",
            call='ddpm("learned")',
            source="Nichol & Dhariwal, 2021, Eq. 15",
            exact=_ENDS,
            learned_variance=True,
        ),
        _own(
            "euler_ancestral",
            lambda _: euler_ancestral(),
            "",
            weak=1,
            source=f"Song et al., 2021b, Alg. of App. F; {_WEAK}",
            numbers=_ETA,
        ),
        _own(
            "predictor_corrector",
            lambda _: predictor_corrector(),
            "predictor-corrector",
            evaluations="2n - 1",
            source="Song et al., 2021b, Alg. 3-5",
            exact=_ENDS,
            numbers=(("snr", (0.1, 0.16)),),
        ),
        # Of a step that adds noise independent of x: Euler-Maruyama is then Milstein's method.
        _own(
            "fixed_path",
            lambda _: fixed_path(ddim(1.0)),
            "DDIM along a path",
            call="fixed_path(ddim(1.0))",
            strong=1,
            source="Kloeden & Platen, 1992, Sec. 10.3",
            exact=_ENDS,
            along_path=True,
        ),
    ),
    "SDE": (
        # The noise as it is added keeps the marginals, and the rest of a step is Heun's, longer by a share churn / n.
        _own(
            "churn",
            churn,
            "churn 40",
            call="churn(schedule)",
            weak=2,
            evaluations="2n - 1",
            source="Karras et al., 2022, Alg. 2, as Heun's method",
            exact=(POINT_MASS, FEW_STEPS, TIME, PURE_NOISE),
            numbers=(("churn", (0.2, 0.6)),),
        ),
        _own(
            "dpm_solver_multistep 1 sde",
            lambda _: multistep(1, eta=1.0),
            "SDE 1",
            call="dpm_solver_multistep(1, eta=1.0)",
            weak=1,
            source=_SDE_FORM,
            numbers=_SDE,
        ),
        _own(
            "dpm_solver_multistep 2 sde",
            lambda _: multistep(2, eta=1.0),
            "SDE 2M",
            call="dpm_solver_multistep(2, eta=1.0)",
            start_up=_FIRST,
            source="Lu et al., 2022b, App. A",
            numbers=_SDE,
        ),
        _own(
            "dpm_solver_multistep 3 sde",
            lambda _: multistep(3, eta=1.0),
            "SDE 3M",
            call="dpm_solver_multistep(3, eta=1.0)",
            start_up=_FIRST,
            source="Lu et al., 2022b, App. A",
            numbers=_SDE,
        ),
        _own(
            "dpm_solver_single 1 sde",
            lambda schedule: single(schedule, 1, eta=1.0),
            "",
            call="dpm_solver_single(schedule, 1, eta=1.0)",
            weak=1,
            source=_SDE_FORM,
            numbers=_SDE,
        ),
        _own(
            "dpm_solver_single 2 sde",
            lambda schedule: single(schedule, 2, eta=1.0),
            "SDE 2S",
            call="dpm_solver_single(schedule, 2, eta=1.0)",
            evaluations="2n - 1",
            source="Lu et al., 2022b, Eq. 18",
            numbers=_SDE,
        ),
    ),
}
METHODS: Mapping[str, Method] = MappingProxyType(
    {method.name: replace(method, family=family) for family, methods in _FAMILIES.items() for method in methods}
)
"""By name, a family after the other."""
