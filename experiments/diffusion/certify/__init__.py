"""Has every sampler the error and the order of convergence that its theory states?

    python -m experiments run certify            3 minutes
    python -m experiments run certify --smoke    three samplers, in seconds

Every method of `gendiff.diffusion.samplers.catalogue` is measured. Nothing is trained: samplers run on oracles whose exact flow or law is
known (`gendiff.diffusion.certify`). Two formulas in common use are measured beside the right ones, and two samplers that are wrong on
purpose must fail. The figures to expect are in experiments/results/certify/README.md.
`samplers.md` in the run folder is the table of all methods.
"""

from typing import Any

from experiments.diffusion.certify import measure
from experiments.diffusion.certify.config import Config, Thresholds
from experiments.diffusion.certify.judge import evaluate
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_SAMPLERS = ("heun", "dpm_solver_multistep-3", "ddpm")
_FEW: dict[str, Any] = {"seeds": (0, 1), "samplers": _SAMPLERS, "starts": 8, "path_starts": 8, "checked": 20}

EXPERIMENT = Experiment(
    name="certify",
    question="Has every sampler the error and the order of convergence that its theory states?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(**_FEW, steps=(8, 16, 32, 64, 128), counts=(10, 64, 128, 200), control_counts=(64, 128)),
    train=None,
    evaluate=evaluate,
    check=measure.check,
)
