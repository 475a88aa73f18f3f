"""The diffusion chapter.

In reading order: types, schedules, process, parameterization, weighting, conditions, objectives, denoiser, guidance,
grids, sampling, samplers. What is built on them: immiscible, flow_coordinates, certify, likelihood, learned, editing,
acceleration, distillation, video.
"""

from typing import TYPE_CHECKING

from gendiff.core.first_use import on_first_use

if TYPE_CHECKING:
    from gendiff.diffusion import (
        certify,
        conditions,
        denoiser,
        distillation,
        editing,
        flow_coordinates,
        grids,
        guidance,
        immiscible,
        likelihood,
        objectives,
        parameterization,
        process,
        samplers,
        sampling,
        schedules,
        video,
        weighting,
    )
    from gendiff.diffusion.acceleration import parallel, stateful_denoiser
    from gendiff.diffusion.acceleration.accept_or_reflect import accept_or_reflect
    from gendiff.diffusion.acceleration.deep_cache import feature_cache
    from gendiff.diffusion.acceleration.stateful_denoiser import stateful
    from gendiff.diffusion.certify import oracles
    from gendiff.diffusion.denoiser import from_network
    from gendiff.diffusion.editing import inpainting, inversion, linear_operators, posterior
    from gendiff.diffusion.learned import alignment, latent, learned_grid, learned_schedule
    from gendiff.diffusion.likelihood import adaptive, elbo
    from gendiff.diffusion.samplers import ancestral
    from gendiff.diffusion.sampling import in_chunks, sample
    from gendiff.diffusion.types import Batch, Denoiser, Level, Prediction

__all__ = [
    "Batch",
    "Denoiser",
    "Level",
    "Prediction",
    "accept_or_reflect",
    "adaptive",
    "alignment",
    "ancestral",
    "feature_cache",
    "certify",
    "conditions",
    "denoiser",
    "distillation",
    "editing",
    "elbo",
    "flow_coordinates",
    "from_network",
    "grids",
    "guidance",
    "immiscible",
    "in_chunks",
    "inpainting",
    "inversion",
    "latent",
    "learned_grid",
    "learned_schedule",
    "likelihood",
    "linear_operators",
    "objectives",
    "oracles",
    "parallel",
    "parameterization",
    "posterior",
    "process",
    "stateful",
    "stateful_denoiser",
    "sample",
    "samplers",
    "sampling",
    "schedules",
    "video",
    "weighting",
]

_FOLDERS = {
    "": "acceleration certify conditions denoiser distillation editing flow_coordinates grids guidance immiscible "
    "learned likelihood objectives parameterization process samplers sampling schedules types video weighting",
    "acceleration": "parallel stateful_denoiser",
    "certify": "oracles",
    "editing": "inpainting inversion linear_operators posterior",
    "learned": "alignment latent learned_grid learned_schedule",
    "likelihood": "adaptive elbo",
    "samplers": "ancestral",
}
_NAMES = {
    "acceleration.accept_or_reflect": "accept_or_reflect",
    "acceleration.deep_cache": "feature_cache",
    "acceleration.stateful_denoiser": "stateful",
    "denoiser": "from_network",
    "sampling": "in_chunks sample",
    "types": "Batch Denoiser Level Prediction",
}
_OLD_NAMES = {"cached_features": "feature_cache", "remember": "stateful", "remembering": "stateful_denoiser"}
__getattr__, __dir__ = on_first_use(__name__, _FOLDERS, _NAMES, _OLD_NAMES)
