"""The numbers of a bench, and where things lie while it runs."""

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from experiments.bench.side import SideProcess
from experiments.bench.workloads import Case, Workload
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Natural, Positive, Seed, Several
from gendiff.runs.reporting.environment import PROJECT


@dataclass(frozen=True)
class SharedThresholds:
    """Of every bench. Ratios are the peer's best time over ours: above 1, we are faster."""

    cold_start: float = 1.0
    """Least ratio of the time from a cold process to its first image or token, our programs compiled before."""
    memory: float = 1.0
    """Least ratio of the peer's peak memory over ours."""
    agreement: float = 1e-4
    """Largest difference of outputs (over their rms where that exceeds 1) or of gradients (relative) with shared
    weights, float32.
    """
    agreement_bfloat16: float = 0.05
    """The same in bfloat16."""
    agreement_rounding: float = 4.0
    """Largest difference of ours from the peer in float64, over that of the peer in float32."""
    failed: Natural = 0
    """Most cases that may not run."""


@dataclass(frozen=True)
class Thresholds(SharedThresholds):
    """Written down before the run."""

    sampling: float = 1.25
    """Least ratio of sampling with the 32×32 U-Net and with DiT-S/2."""
    unet_sampling_amd: float = 1.5
    """The same of the U-Net on a processor of AMD."""
    unet_sampling_intel: float = 1.2
    """The same of the U-Net on a processor of Intel."""
    training: float = 1.1
    """Least ratio of a training step of the two, and of a step of critic and generator of DCGAN."""
    unet_training_amd: float = 1.05
    """The same of the U-Net on a processor of AMD."""
    dit_training_amd: float = 1.5
    """The same of DiT-S/2 on a processor of AMD."""
    training_intel: float = 1.0
    """The same of the U-Net and of DiT-S/2 on a processor of Intel."""
    bfloat16: float = 1.25
    """Least ratio of sampling in bfloat16, on a processor that multiplies it."""
    race: float = 1.0
    """Least ratio of the time to digits of equal quality: both sides take as many steps, so that more than the ratio of
    a step is out.
    """
    near: float = 0.05
    """Largest excess of the Fréchet distance, as a share, that still counts as equal quality."""
    agreement_pictures: float = 2e-3
    """Largest difference of pictures in [-1, 1] of a latent model after 50 steps. One draw of 100 makes rounding
    larger.
    """
    lost: Natural = 0
    """Most requests to a server under load that may get no picture."""
    overtaking: float = 1.5
    """Most times of its own seconds that a short request takes behind a long one."""
    digits: float = 1.0
    """Least ratio of sampling and training with the network of digits at batch 16: the arithmetic of both sides is
    equal.
    """
    sweep: float = 5.0
    """Least ratio of a sweep over guidance scales and step counts, compilation included."""
    matmul_share: float = 0.7
    """Least share of the machine's matrix product rate that sampling with DiT-S/2 reaches."""
    gpu: float = 1.0
    """Least ratio of every case on a GPU."""
    utilisation: float = 0.5
    """Least share of the GPU's bfloat16 peak that a training step of DiT-XL/2 reaches."""


@dataclass(frozen=True)
class SharedConfig:
    """What every bench has."""

    seeds: tuple[Seed, ...] = ()
    """None: inputs and weights are always the same."""
    cases: Annotated[tuple[str, ...], ranges.DISTINCT] = ()
    """Names of the cases; none means all of the device. `bench list` shows them."""
    peers: bool = False
    """Compare with torch and diffusers, which need the environment .venv-peers (make bench)."""
    against: str = ""
    """Compare with the code of another checkout of this project, such as that of an older commit: its folder; empty for
    none.
    """
    device: Literal["cpu", "gpu", "accelerator"] = "cpu"
    """Where both sides run: cpu in float32 at the highest precision, gpu in bfloat16. accelerator is ours alone, in
    bfloat16 on the device that JAX takes, beside the bounds of the device.
    """
    minutes: Positive = 10.0
    """What --device accelerator may take: a case for which there is no time is left out."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 2
    """Cores of each side on a CPU; one side at a time has work."""
    pairs: Several = 7
    """Rounds in which each way is timed once."""
    call_seconds: Positive = 0.3
    """Least length of a timed call in seconds: shorter work is repeated."""
    budget: Positive = 20.0
    """Seconds of rounds a case may take; slower modes of the peer are left out of the rounds first."""
    tiny: bool = False
    """Tiny shapes, which show that everything runs."""


@dataclass(frozen=True)
class Config(SharedConfig):
    """Every number of the bench."""

    thresholds: Thresholds = Thresholds()


@dataclass(frozen=True)
class LanguageThresholds(SharedThresholds):
    """Written down before the run, for the bench of language models."""

    language_prefill: float = 2.0
    """Least ratio of reading a prompt with a language model, float32."""
    language_decode: float = 2.5
    """Least ratio of going on with texts with a language model, one and eight at once, float32."""
    llama_prefill: float = 2.5
    """Least ratio of the time of llama.cpp, with weights of 4 bits as shipped, to read a prompt over ours."""
    llama_decode: float = 0.6
    """The same for going on with one text."""
    llama_decode_8: float = 1.0
    """The same for eight texts at once."""
    llama_lookup: float = 1.0
    """The same, per token, for replies that repeat their question, with prompt lookup."""
    agreement_logits_bfloat16: float = 0.1
    """The same of logits of language models, of which there are millions, with weights in bfloat16."""


@dataclass(frozen=True)
class LanguageConfig(SharedConfig):
    """Every number of the bench of language models."""

    thresholds: LanguageThresholds = LanguageThresholds()


@dataclass(frozen=True)
class FolderThresholds(SharedThresholds):
    """Written down before the run, for the bench of Stable Diffusion."""

    steps: float = 1.0
    """Least ratio of a guided step of Stable Diffusion 1.5 in float32."""
    pictures: float = 1e-3
    """Largest difference of pictures in [0, 1] after 10 guided steps."""
    large_gib: float = 24.0
    """Most memory in GiB with which Stable Diffusion XL is read and draws in bfloat16."""


@dataclass(frozen=True)
class FolderConfig(SharedConfig):
    """Every number of the bench of Stable Diffusion."""

    thresholds: FolderThresholds = FolderThresholds()


@dataclass(frozen=True)
class FullSizeThresholds(SharedThresholds):
    """Written down before the run, for the bench of models at full size."""

    four_bits_gib: float = 16.0
    """Most memory in GiB with which a model of 8 to 10 billion parameters in four bits is read and draws."""
    step_bfloat16: float = 0.05
    """Largest rms of the difference of a step in bfloat16 from that of diffusers, over the rms of the latter. Each
    product of a chain of about 100 is rounded by 0.2 % on either side.
    """


@dataclass(frozen=True)
class FullSizeConfig(SharedConfig):
    """Every number of the bench of models at full size."""

    thresholds: FullSizeThresholds = FullSizeThresholds()


AnyConfig = Config | LanguageConfig | FolderConfig | FullSizeConfig


@dataclass(frozen=True)
class Setting:
    """A running bench.

    folder: for arrays and weights, deleted afterwards. peer: Python of the peers' environment, or None. before: another
        checkout, or None. until: `time.monotonic()` at which cases of an accelerator stop.
    """

    config: AnyConfig
    folder: Path
    peer: Path | None = None
    before: Path | None = None
    until: float = math.inf

    def start(self, side: str, **variables: str) -> SideProcess:
        """A process of "ours", "torch" or "llama_cpp", with more variables in its environment; "before" is ours of the
        other checkout.
        """
        environment = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "GENDIFF_COMPILE_CACHE": ""}
        if self.config.device == "accelerator":
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        elif self.config.device == "gpu":
            # only tiny shapes, which show that the path works, may run where there is no GPU
            platform = os.environ.get("JAX_PLATFORMS", "cuda") if self.config.tiny else "cuda"
            environment |= {
                "JAX_PLATFORMS": platform,
                "BENCH_DEVICE": platform,
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            }
        else:
            environment |= {"JAX_PLATFORMS": "cpu", "BENCH_DEVICE": "cpu", "BENCH_THREADS": str(self.config.threads)}
            environment["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
        command, before = (
            ("experiments.bench.side", "ours" if side == "before" else side),
            self.before if side == "before" else None,
        )
        python = self.peer if side in ("torch", "llama_cpp") and self.peer is not None else sys.executable
        return SideProcess(command, before or PROJECT, python, environment | variables)

    def fitted(self, workload: Workload) -> Workload:
        """The workload, small in a tiny bench."""
        return workload.small if self.config.tiny else workload

    def case_folder(self, name: str) -> Path:
        """A folder for the files of a case."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def pairs(self, case: Case) -> int:
        """Rounds of a case."""
        return min(case.pairs, self.config.pairs)


def peer_python(project: Path = PROJECT) -> Path:
    """The interpreter of the peers' environment. Raises ConfigError with the command that makes it."""
    path = Path(os.environ.get("GENDIFF_PEERS_PYTHON", project / ".venv-peers/bin/python"))
    if not path.exists():
        raise ConfigError(f"--peers needs {path}: run `make bench`, or name another with GENDIFF_PEERS_PYTHON")
    return path


def other_checkout(folder: str) -> Path:
    """The root of another checkout. Raises ConfigError where its folder holds no bench that could be asked."""
    path = Path(folder).expanduser().absolute()
    if not (path / "experiments" / "bench" / "side.py").is_file():
        raise ConfigError(
            f"--against {folder} is no checkout of this project: {path}/experiments/bench/side.py is absent"
        )
    return path
