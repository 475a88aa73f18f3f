"""How long do training and sampling take on an accelerator that is not here, at best, and what fits into its memory?

    gendiff plan --accelerator h100 --network dit-xl/2 --batch 256

Times are bounds by the roofline: the longer one of the products of the network over the peak rate, and of the bytes
that must pass through memory over the bandwidth. A run that takes several times as long has something to find. Nothing
runs on an accelerator.
"""

from gendiff.commands.plan import plan_options
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.runs.registry import Late, Tool

__all__ = ["COMMAND"]

COMMAND = Tool(
    PlanOptions,
    Late("gendiff.commands.plan.plan_lines"),
    "How long do training and sampling take on an accelerator at best, and what fits into it?",
    check=plan_options.check,
)
