"""Schedulers of diffusers by their scheduler_config.json: as a schedule, a grid of levels, a sampler and a parameterization."""

from gendiff.pipelines.diffusers_schedulers.configurations import Configuration
from gendiff.pipelines.diffusers_schedulers.scheduler import Scheduler, from_config

__all__ = ["Configuration", "Scheduler", "from_config"]
