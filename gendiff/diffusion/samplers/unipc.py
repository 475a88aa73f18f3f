"""UniPC: the multistep stepper with a corrector that costs no evaluation of its own."""

from gendiff.core import checks
from gendiff.diffusion.samplers import exponential_integrators
from gendiff.diffusion.samplers.dpm_solver_multistep import Coefficients, Multistep

VARIANTS = {"bh1": exponential_integrators.linear, "bh2": exponential_integrators.midpoint}


def unipc(order: int = 2, *, variant: str = "bh2", lower_order_final: bool = False) -> Multistep:
    """UniPC in data form. One evaluation per step.

    Also known as: unified predictor-corrector.

    The evaluation at a new level first corrects the step that led there and then predicts the next one. The last level
    is not evaluated, so the last step is not corrected.

    Args:
        order: 1, 2 or 3, of the predictor. The corrector makes that 2, 3 and 3: it would be 4, but the first step has
            order 2, with a small error.
        variant: B(h) = h ("bh1") or e^h - 1 ("bh2"). It matters only where one other prediction is in use; elsewhere it
            cancels.
        lower_order_final: whether the k-th last step has at most order k.

    Raises:
        ValueError: for another order or variant.

    References:
        Zhao et al., 2023, Algs. 1-2 and App. A.
    """
    checks.integer("order", order, 1, 3)
    checks.choice("variant", variant, VARIANTS)
    return Multistep(Coefficients(rule=VARIANTS[variant]), order, "always", lower_order_final)
