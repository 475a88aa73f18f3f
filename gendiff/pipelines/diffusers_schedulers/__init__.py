"""Schedulers of diffusers from scheduler_config.json: schedule, grid of levels, sampler and parameterization."""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
    from gendiff.pipelines.diffusers_schedulers.configurations import Configuration
    from gendiff.pipelines.diffusers_schedulers.scheduler import Scheduler, from_config

__all__ = ["Configuration", "Scheduler", "from_config"]

__getattr__, __dir__ = on_first_use(
    __name__, {}, {"configurations": "Configuration", "scheduler": "Scheduler from_config"}
)
