"""How long do training and sampling take on an accelerator that is not here, at best, and what fits into its memory?

    python -m experiments plan --accelerator h100 --network dit-xl/2 --batch 256

Times are bounds by the roofline: the longer one of the products of the network over the peak rate, and of the bytes that must pass through
memory over the bandwidth. A run that takes several times as long has something to find. Nothing runs on an accelerator.
"""

from experiments.framework.registry import Tool
from experiments.scaling.machine_plan import plan_lines
from experiments.scaling.machine_plan.plan_options import PlanOptions

__all__ = ["COMMAND"]

COMMAND = Tool(PlanOptions, plan_lines.call, "How long do training and sampling take on an accelerator at best, and what fits into it?")
