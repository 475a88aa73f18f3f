"""Schedulers of diffusers from scheduler_config.json: schedule, grid of levels, sampler and parameterization."""

from gendiff.pipelines.diffusers_schedulers.configurations import Configuration
from gendiff.pipelines.diffusers_schedulers.scheduler import Scheduler, from_config

__all__ = ["Configuration", "Scheduler", "from_config"]
