"""Every case by name, and how those are measured that are more than one duel."""

import dataclasses
import functools
import os
from typing import Any

from experiments.benchmarks import cold_start, duel, findings, ours, race, race_courses, serve_load, workloads
from experiments.benchmarks.config import Setting
from experiments.benchmarks.duel import OURS, Case
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.side_process import SideProcess
from experiments.benchmarks.workloads import Workload
from gendiff import networks
from gendiff.commands.serve import load
from gendiff.core.errors import ConfigError
from gendiff.runs import dtypes, errors
from gendiff.runs.reporting import processor
from gendiff.runs.reporting.results import Table


def chosen(every: tuple[Case, ...], names: tuple[str, ...], device: str) -> list[Case]:
    """Those of these names, or all of the device, with the thresholds of this processor.

    Raises ConfigError with the nearest name for one that is not there.
    """
    there = {case.name: case for case in every if case.device == device}
    for name in names:
        if name not in there:
            raise ConfigError(f"no case of the bench on {device} is called {name!r}; {errors.hint(name, there)}")
    vendor, wanted = processor.vendor(), [there[name] for name in names or there]
    return [dataclasses.replace(case, threshold=case.by_vendor.get(vendor, case.threshold)) for case in wanted]


def _guidance(case: Case, setting: Setting) -> Findings:
    """Two duels, one for each way to guide, and the ratio between ours. Torch guides in two passes in its first mode alone."""

    def fight(passes: str, most: int) -> duel.Duel:
        workload = dataclasses.replace(case.workload, passes=passes)
        return duel.fight(dataclasses.replace(case, name=f"guidance_{passes}", workload=workload), setting, most)

    one, two = fight("batched", len(duel.MODES)), fight("two", 1)
    gain, rounds = duel.ratio(two.seconds[OURS], one.seconds[OURS]), len(one.seconds[OURS])
    return Findings((one, two), (Ratio("guidance_passes", "guidance: one batched pass over two passes, ours", gain, rounds),))


def _growth(case: Case, setting: Setting) -> Findings:
    """The exponent of time by each quantity: 1 is linear, 0 is no growth. Every point is 5 timed calls of the digits network."""
    base = setting.fitted(case.workload)
    by_width = [dataclasses.replace(base, network=f"digits{width}") for width in ("_half", "", "_double", "_fourfold")]
    sweeps: dict[str, dict[int, Workload]] = {
        "batch": {batch: dataclasses.replace(base, batch=batch) for batch in (1, 4, 16, 64, 256)},
        "steps": {steps: dataclasses.replace(base, steps=steps) for steps in (5, 10, 20, 40)},
        "pixels": {size**2: dataclasses.replace(base, size=size, batch=4) for size in (8, 16, 32, 64)},
        "parameters": {networks.count(ours.shapes(each)): each for each in by_width},
    }
    most = 2 if setting.config.tiny else None

    def time_of(side: SideProcess, name: str, workload: Workload) -> tuple[float, ...]:
        side.ask("prepare", name=name, **workloads.request(workload, setting.folder, name))
        repeats = max(1, round(0.2 * setting.config.call_seconds / side.ask("run", name=name)))
        return tuple(side.ask("run", name=name, repeats=repeats) / repeats for _ in range(5))

    with setting.start(OURS) as side:
        timed = {
            quantity: {size: time_of(side, f"{quantity}_{size}", each) for size, each in list(sizes.items())[:most]}
            for quantity, sizes in sweeps.items()
        }
    timed["devices of one CPU"] = {}
    for count in (1, 2, 4, 8)[:most]:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}".strip()
        with setting.start(OURS, XLA_FLAGS=flags) as side:
            workload = dataclasses.replace(base, batch=4 if setting.config.tiny else 64)
            timed["devices of one CPU"][count] = time_of(side, f"devices_{count}", workload)
    timed["layers, compilation"] = _compilations(setting, workloads.DEPTHS[:most])
    points = ((name, size, *findings.spread(seconds)) for name, sizes in timed.items() for size, seconds in sizes.items())
    slopes = ((name, f"{min(of):g} … {max(of):g}", duel.exponent(list(of), list(of.values()))) for name, of in timed.items())
    title = "Growth of the time to sample with the digits network, and to compile a DiT (1 is linear)"
    exponents = Table(title, ("quantity", "from … to", "exponent"), tuple(slopes))
    return Findings(tables=(exponents, Table("Points of the growth", ("quantity", "value", "median s", "least", "most"), tuple(points))))


def _compilations(setting: Setting, depths: tuple[int, ...]) -> dict[int, tuple[float, ...]]:
    """Seconds until a step of DDIM of a DiT of so many layers has run for the first time, in 3 processes that have compiled one before."""
    requests = dict[int, Any]()
    for depth in depths:
        workload = Workload("sample", f"dit_deep{depth}")
        weights = setting.folder / workload.network
        ours.write_weights(workload, weights)
        requests[depth] = workloads.request(workload, setting.folder, f"{workload.network}_inputs", weights)
    seconds: dict[int, list[float]] = {depth: [] for depth in depths}
    for _ in range(3):
        with setting.start(OURS) as side:
            side.ask("prepare", name="warmed", **requests[depths[0]])
            for depth in depths:
                seconds[depth].append(side.ask("prepare", name=f"depth_{depth}", **requests[depth])["first"])
    return {depth: tuple(spent) for depth, spent in seconds.items()}


def _halves_are_slow() -> str:
    """Why bfloat16 is not measured here; empty where the processor is made for it."""
    found = dtypes.suited()
    return "" if found.dtype == "bfloat16" else found.reason


_UNET = Workload("sample", "unet32", batch=16, steps=2)
_DIT = Workload("sample", "dit_s2", batch=8, steps=2)
_UNET_STEP, _DIT_STEP = Workload("train", "unet32", batch=16), Workload("train", "dit_s2", batch=8)
_UNET_SAMPLING = {"AMD": "unet_sampling_amd", "Intel": "unet_sampling_intel"}
_UNET_TRAINING = {"AMD": "unet_training_amd", "Intel": "training_intel"}
_DIT_TRAINING = {"AMD": "dit_training_amd", "Intel": "training_intel"}
_RACE = Workload("sample", "digits", batch=1000, steps=50, objective="flow")
_DIGITS = Workload("sample", "digits", batch=16, steps=50)
_FLOW = Workload("train", "digits", batch=16, objective="flow")
_DCGAN = Workload("adversarial", "dcgan", batch=64)
_ROLLOUT = Workload("rollout", "byte_lm_medium", batch=16, tokens=32, steps=64)
_VIDEO = Workload("video_rollout", "video", batch=8, tokens=16, steps=4)
_CLIPS = Workload("video_train", "video", batch=8, tokens=8)
_GUIDED = Workload("sample", "digits", batch=64, steps=5, guidance=3.0)
_SWEEP = Workload("sweep", "digits", batch=64, scales=(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), step_counts=(4, 6, 8, 12))
_COLD = Workload("sample", "unet32", steps=20)
_GROWN = Workload("sample", "digits", batch=16, steps=5)
_BLOCK = Workload("block", batch=2, size=64, channels=320, embedding=1280)
_ATTENTION = Workload("attention", batch=16, tokens=256, heads=16, head_size=8)
_LONG = Workload("attention", tokens=4096, heads=8, head_size=40)
_DEEP = Workload("convolution", batch=16, size=16, channels=128)
_GPU: dict[str, Any] = {"threshold": "gpu", "memory": True, "device": "gpu"}


def _half(kind: Any, network: str, batch: int, steps: int = 1) -> Workload:
    return Workload(kind, network, batch=batch, steps=steps, dtype="bfloat16")


def _race(course: race_courses.Make) -> Any:
    return functools.partial(race.measure, course)


def _byte_lm(size: str, batch: int) -> Workload:
    return Workload("next_token", f"byte_lm_{size}", batch=batch, tokens=256)


ALL = (
    Case("matmul", "product of two 2048 × 2048 matrices", Workload("matmul", size=2048)),
    Case("unet32_sample", "U-Net 32×32 of 6.5 M parameters, batch 16, DDIM", _UNET, "sampling", memory=True, by_vendor=_UNET_SAMPLING),
    Case("unet32_train", "the same, training step", _UNET_STEP, "training", memory=True, by_vendor=_UNET_TRAINING),
    Case("dit_sample", "DiT-S/2, 256 tokens, batch 8, DDIM", _DIT, "sampling", "matmul_share", memory=True),
    Case("dit_train", "the same, training step", _DIT_STEP, "training", memory=True, by_vendor=_DIT_TRAINING),
    Case(
        "unet32_sample_bfloat16",
        "sampling with the U-Net in bfloat16",
        _half("sample", "unet32", 16, 2),
        "bfloat16",
        absent=_halves_are_slow,
    ),
    Case("dit_sample_bfloat16", "sampling with DiT-S/2 in bfloat16", _half("sample", "dit_s2", 8, 2), "bfloat16", absent=_halves_are_slow),
    Case("dcgan_train", "DCGAN at 32×32, a step of critic and one of generator, batch 64", _DCGAN, "training"),
    Case("lm_train_small", "language model over bytes of 0.1 M parameters, training step, 16 texts of 256", _byte_lm("small", 16)),
    Case("lm_train_medium", "the same of 3 M parameters, 8 texts", _byte_lm("medium", 8)),
    Case("lm_train_large", "the same of 25 M parameters, 4 texts", _byte_lm("large", 4)),
    Case("rollout", "64 tokens sampled behind 16 prompts of 32 by the language model of 3 M parameters", _ROLLOUT),
    Case("ppo_step", "an update by PPO on such rollouts, in 2 epochs of 2 minibatches", dataclasses.replace(_ROLLOUT, kind="ppo_step")),
    Case("video_rollout", "8 clips of 16 frames of 32×32, frame by frame with a causal transformer and its cache, DDIM in 4 steps", _VIDEO),
    Case("video_train", "training step of the same network, 8 clips of 8 frames with a time each", _CLIPS),
    Case("digits_sample_16", "the network of the digits demo, batch 16, DDIM in 50 steps", _DIGITS, "digits"),
    Case("digits_sample_128", "the same at batch 128, 10 steps", dataclasses.replace(_DIGITS, batch=128, steps=10)),
    Case("digits_train_16", "the demo's training step at batch 16", _FLOW, "digits"),
    Case("digits_train_128", "the same at batch 128", dataclasses.replace(_FLOW, batch=128)),
    Case("vae_encode", "encoder of Stable Diffusion's autoencoder, one picture of 128×128", Workload("encode", "sd_vae")),
    Case("vae_decode", "its decoder, one picture of 128×128", Workload("decode", "sd_vae")),
    Case("clip_text", "text encoder of Stable Diffusion 1, 8 texts of 77 tokens", Workload("text", "clip_l", batch=8, tokens=77)),
    Case("unet_block", "residual block of an SD-1.x-sized U-Net: 64×64, 320 channels, batch 2", _BLOCK),
    Case("decoder_block", "residual block of a decoder at 512×512, 128 channels, batch 1", Workload("block", size=512, channels=128)),
    Case("attention", "attention alone: batch 16, 256 tokens, 16 heads of 8", _ATTENTION),
    Case("attention_4096", "attention alone: batch 1, 4096 tokens, 8 heads of 40", _LONG),
    Case("convolution_64", "3×3 convolution alone: batch 16, 32×32, 64 channels", Workload("convolution", batch=16, size=32, channels=64)),
    Case("convolution_128", "3×3 convolution alone: batch 16, 16×16, 128 channels", _DEEP),
    Case("guidance", "classifier-free guidance in one batched pass against two, digits network, batch 64", _GUIDED, measure=_guidance),
    Case("sweep", "8 guidance scales × 4 step counts, digits network, batch 64, compilation included", _SWEEP, "sweep"),
    Case("digits_race", "seconds to 1,000 digits as good as those of DDIM in 50 steps", _RACE, "race", measure=_race(race_courses.digits)),
    Case(
        "latents_race",
        "seconds to 16 pictures of a latent model as good as those of DDIM in 50 steps",
        dataclasses.replace(_RACE, network="latents", batch=500),
        "race",
        measure=_race(race_courses.latents),
    ),
    Case("cold_start", "from a cold process to its first image, U-Net 32×32, 20 steps", _COLD, "cold_start", measure=cold_start.measure),
    Case(
        "serve_load",
        "pictures per second of the server, up to 8 at a time against one at a time",
        Workload("serve", batch=8),
        pairs=3,
        absent=load.absent,
        measure=serve_load.measure,
    ),
    Case(
        "growth",
        "time by batch, steps, resolution, parameters and devices (ours alone), and of compiling by depth",
        _GROWN,
        measure=_growth,
    ),
    Case("gpu_unet_sample", "U-Net 32×32, batch 128, DDIM, bfloat16", _half("sample", "unet32", 128, 50), **_GPU),
    Case("gpu_unet_train", "the same, training step at batch 256", _half("train", "unet32", 256), **_GPU),
    Case("gpu_dit_sample", "DiT-XL/2, batch 32, DDIM, bfloat16", _half("sample", "dit_xl2", 32, 20), **_GPU),
    Case("gpu_dit_train", "DiT-XL/2, training step at batch 64, bfloat16", _half("train", "dit_xl2", 64), share="utilisation", **_GPU),
)
