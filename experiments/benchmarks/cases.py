"""Every case by name: what it asks, and the function that measures it."""

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from experiments.benchmarks import cold_start, duel, growth, pairs
from experiments.benchmarks.config import Setting
from experiments.benchmarks.findings import Findings, Ratio
from experiments.benchmarks.workloads import Workload
from gendiff.core.errors import ConfigError


@dataclass(frozen=True)
class BenchCase:
    """name: the word on the command line. measure: setting -> what was found. device: where it belongs."""

    name: str
    question: str
    measure: Callable[[Setting], Findings]
    device: str = "cpu"


@dataclass(frozen=True)
class Duelling:
    """Measures one workload on every side. tiny: what changes in a smoke run. The other fields are those of Findings."""

    name: str
    workload: Workload
    tiny: dict[str, Any]
    modes: tuple[str, ...] = duel.MODES
    threshold: str = ""
    memory: bool = False
    share: str = ""

    @property
    def small(self) -> Workload:
        """The workload of a smoke run."""
        return dataclasses.replace(self.workload, **self.tiny)

    def __call__(self, setting: Setting) -> Findings:
        tiny = setting.config.tiny
        result = duel.fight(setting, self.name, self.small if tiny else self.workload, self.modes[:1] if tiny else self.modes)
        return Findings(duels=(result,), threshold=self.threshold, memory=self.memory, share=self.share)


def chosen(names: tuple[str, ...], device: str) -> list[BenchCase]:
    """The cases of those names, or all of the device. Raises ConfigError with the nearest name for one that is not there."""
    there = {case.name: case for case in ALL if case.device == device}
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(there)}"
            raise ConfigError(f"no case of the bench on {device} is called {name!r}; {hint}")
    return [there[name] for name in names or there]


def _guidance(setting: Setting) -> Findings:
    """Two duels, one for each way to guide, and the ratio between ours."""
    batched = Workload("sample", "digits", batch=64, steps=5, guidance=3.0)
    if setting.config.tiny:
        batched = dataclasses.replace(batched, **_DIGITS)
    one = duel.fight(setting, "guidance_batched", batched, duel.MODES[:1] if setting.config.tiny else duel.MODES)
    two = duel.fight(setting, "guidance_two", dataclasses.replace(batched, passes="two"), duel.MODES[:1])
    gain = pairs.ratio(two.seconds[duel.OURS], one.seconds[duel.OURS])
    statement = "guidance: one batched pass over two passes, ours"
    return Findings(duels=(one, two), ratios=(Ratio("guidance_passes", statement, gain, len(one.seconds[duel.OURS])),))


def _duel(name: str, question: str, workload: Workload, tiny: dict[str, Any], *, device: str = "cpu", **options: Any) -> BenchCase:
    return BenchCase(name, question, Duelling(name, workload, tiny, **options), device)


_PLAIN = ("eager", "compiled")  # for networks that have no feature maps to lay out
_UNET: dict[str, Any] = {"network": "tiny_unet", "batch": 2}
_DIT: dict[str, Any] = {"network": "tiny_dit", "batch": 2}
_DIGITS: dict[str, Any] = {"network": "tiny_digits", "batch": 2}
_CONVOLUTION: dict[str, Any] = {"size": 4, "channels": 4}
_SWEEP = Workload("sweep", "digits", batch=64, scales=(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), step_counts=(4, 6, 8, 12))
_OF_SWEEP = _DIGITS | {"scales": (1.0, 2.0), "step_counts": (2, 3)}
_UNET_SAMPLE = Workload("sample", "unet32", batch=16, steps=2)
_DIT_SAMPLE = Workload("sample", "dit_s2", batch=8, steps=2)
_FLOW = Workload("train", "digits", batch=16, objective="flow")
_BLOCK = Workload("block", batch=2, size=64, channels=320, embedding=1280)
_ATTENTION = Workload("attention", batch=16, tokens=256, heads=16, head_size=8)
_LONG_ATTENTION = Workload("attention", tokens=4096, heads=8, head_size=40)
_GPU: dict[str, Any] = {"threshold": "gpu", "memory": True, "device": "gpu"}
_GPU_UNET = Workload("sample", "unet32", batch=128, steps=50, dtype="bfloat16")
_GPU_DIT = Workload("sample", "dit_xl2", batch=32, steps=20, dtype="bfloat16")

ALL = (
    _duel("matmul", "product of two 2048 × 2048 matrices", Workload("matmul", size=2048), {"size": 64}),
    _duel("unet32_sample", "U-Net 32×32 of 6.5 M parameters, batch 16, DDIM", _UNET_SAMPLE, _UNET, threshold="sampling", memory=True),
    _duel("unet32_train", "the same, training step", Workload("train", "unet32", batch=16), _UNET, threshold="training", memory=True),
    _duel(
        "dit_sample",
        "DiT-S/2, 256 tokens, batch 8, DDIM",
        _DIT_SAMPLE,
        _DIT,
        threshold="sampling",
        modes=_PLAIN,
        memory=True,
        share="matmul_share",
    ),
    _duel(
        "dit_train", "the same, training step", Workload("train", "dit_s2", batch=8), _DIT, threshold="training", modes=_PLAIN, memory=True
    ),
    _duel(
        "digits_sample_16",
        "the network of the digits demo, batch 16, DDIM in 50 steps",
        Workload("sample", "digits", batch=16, steps=50),
        _DIGITS | {"steps": 3},
        threshold="digits",
    ),
    _duel("digits_sample_128", "the same at batch 128, 10 steps", Workload("sample", "digits", batch=128, steps=10), _DIGITS),
    _duel("digits_train_16", "the demo's training step at batch 16", _FLOW, _DIGITS, threshold="digits"),
    _duel("digits_train_128", "the same at batch 128", dataclasses.replace(_FLOW, batch=128), _DIGITS),
    _duel(
        "unet_block",
        "residual block of an SD-1.x-sized U-Net: 64×64, 320 channels, batch 2",
        _BLOCK,
        {"size": 8, "channels": 32, "embedding": 16},
    ),
    _duel(
        "decoder_block",
        "residual block of a decoder at 512×512, 128 channels, batch 1",
        Workload("block", size=512, channels=128),
        {"size": 8, "channels": 32},
    ),
    _duel("attention", "attention alone: batch 16, 256 tokens, 16 heads of 8", _ATTENTION, {"tokens": 16}, modes=_PLAIN),
    _duel("attention_4096", "attention alone: batch 1, 4096 tokens, 8 heads of 40", _LONG_ATTENTION, {"tokens": 16}, modes=_PLAIN),
    _duel(
        "convolution_64",
        "3×3 convolution alone: batch 16, 32×32, 64 channels",
        Workload("convolution", batch=16, size=32, channels=64),
        _CONVOLUTION,
    ),
    _duel(
        "convolution_128",
        "3×3 convolution alone: batch 16, 16×16, 128 channels",
        Workload("convolution", batch=16, size=16, channels=128),
        _CONVOLUTION,
    ),
    BenchCase("guidance", "classifier-free guidance in one batched pass against two, digits network, batch 64", _guidance),
    _duel(
        "sweep", "8 guidance scales × 4 step counts, digits network, batch 64, compilation included", _SWEEP, _OF_SWEEP, threshold="sweep"
    ),
    BenchCase("cold_start", "from a cold process to its first image, U-Net 32×32, 20 steps, batch 1", cold_start.measure),
    BenchCase("growth", "time by batch, steps, resolution, parameters and devices (ours alone)", growth.measure),
    _duel("gpu_unet_sample", "U-Net 32×32, batch 128, DDIM, bfloat16", _GPU_UNET, _UNET, **_GPU),
    _duel(
        "gpu_unet_train", "the same, training step at batch 256", Workload("train", "unet32", batch=256, dtype="bfloat16"), _UNET, **_GPU
    ),
    _duel("gpu_dit_sample", "DiT-XL/2, batch 32, DDIM, bfloat16", _GPU_DIT, _DIT, modes=_PLAIN, **_GPU),
    _duel(
        "gpu_dit_train",
        "DiT-XL/2, training step at batch 64, bfloat16",
        Workload("train", "dit_xl2", batch=64, dtype="bfloat16"),
        _DIT,
        modes=_PLAIN,
        share="utilisation",
        **_GPU,
    ),
)
