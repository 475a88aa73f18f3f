"""The cases of `bench --device accelerator`: each a process of its own, as long as there is time."""

import dataclasses
import functools
import time
from typing import Any

import msgspec

from experiments.bench.config import Setting
from experiments.bench.duel import OURS
from experiments.bench.findings import Findings, Rate
from experiments.bench.side import SideError
from experiments.bench.workloads import Case, Workload
from gendiff.scaling import Accelerator

NO_MEMORY = "RESOURCE_EXHAUSTED"
"""XLA's word for it."""


def measure(case: Case, setting: Setting) -> Findings:
    """Rates of one program. A case for which there is no time or no memory is left out, and says so."""
    workload, over = setting.fitted(case.workload), f"the {setting.config.minutes:g} minutes of --minutes are over"
    if (left := setting.until - time.monotonic()) <= 0:
        return Findings(skipped={case.name: over})
    with setting.start(OURS) as side:
        numbers = {"rounds": setting.pairs(case), "seconds": setting.config.call_seconds}
        try:
            answer = side.ask("rates", limit=left, workload=dataclasses.asdict(workload), **numbers)
        except SideError as error:
            if time.monotonic() >= setting.until:
                return Findings(skipped={case.name: f"stopped: {over}"})
            if NO_MEMORY in str(error):
                return Findings(skipped={case.name: f"the device has too little memory: {error}"})
            raise
    return Findings(rates=(Rate(case.name, **answer | {"device": msgspec.convert(answer["device"], Accelerator)}),))


_TEXTS: dict[str, Any] = {"network": "smollm2_large", "tokens": 16, "steps": 128}
_case = functools.partial(Case, device="accelerator", measure=measure)
_work = functools.partial(Workload, dtype="bfloat16")
CASES = (
    _case(
        "device_unet", "U-Net 32×32 of 6.5 M parameters, 256 images", _work("device_evaluation", "unet32", batch=256)
    ),
    _case("device_unet_train", "the same, training step", _work("device_training", "unet32", batch=256)),
    _case("device_dit", "DiT-XL/2, 32 latents of 32×32", _work("device_evaluation", "dit_xl2", batch=32)),
    _case("device_dit_512", "DiT-XL/2, 8 latents of 64×64", _work("device_evaluation", "dit_xl2", batch=8, size=64)),
    _case("device_dit_train", "DiT-XL/2, training step on 32 latents", _work("device_training", "dit_xl2", batch=32)),
    _case(
        "device_sd15",
        "the U-Net of Stable Diffusion 1.5, 8 latents of 64×64",
        _work("device_evaluation", "sd15", batch=8, size=64, tokens=77),
    ),
    _case("device_decode", "SmolLM2-1.7B, 128 tokens of one text", _work("device_writing", **_TEXTS)),
    _case("device_decode_32", "128 tokens of each of 32 texts", _work("device_writing", **_TEXTS | {"batch": 32})),
    _case(
        "device_flux",
        "2 double and 4 single blocks of FLUX.1, latents of 128×128 and 512 tokens",
        _work("device_evaluation", "flux_blocks", size=128, tokens=512),
    ),
    _case(
        "device_sdxl",
        "the U-Net of Stable Diffusion XL, 2 latents of 128×128",
        _work("device_evaluation", "sdxl", batch=2, size=128, tokens=77),
    ),
)
