"""Do time and memory grow no faster than theory says?

    python -m experiments run growth

compiles small networks at several sizes of one quantity at a time, calls all sizes in turn, and fits exponents: of
seconds, of operations by formula, which is what theory expects of seconds, and of the bytes that XLA says a program
needs. Devices are forced on one CPU, so that their theory is no growth at all. About 4 minutes on 2 cores.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from gendiff import diffusion, language, networks
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.language import cache as caches
from gendiff.runs import devices, paired_timing, program_costs, ranges
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Positive, Several
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.environment import PROJECT
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import ClaimRow, Measured, Measurements, Study, claim, control
from gendiff.scaling import accounting, cost
from gendiff.training import sharding

Sizes = Annotated[tuple[Count, ...], msgspec.Meta(min_length=2)]
"""Two or more, each above the one before: an exponent is fitted to them."""
UNET = networks.UNet(channels=(16, 32, 64), blocks=1, attention=(), groups=8)
TRANSFORMER = networks.DiT(width=128, depth=2, heads=4)
WRITER: dict[str, Any] = {"vocabulary": 256, "width": 128, "depth": 4, "heads": 2}
LEAST = 4
"""Side of an image that the U-Net halves as often as it has levels."""
MARGIN = 0.15
"""By how much an exponent may exceed that of theory."""
COMPILATIONS = 3
"""Times that each depth is compiled."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    sides: Sizes = (16, 32, 64, 128)
    """Sides of images in pixels, of a U-Net and of the training step of a transformer."""
    steps: Sizes = (5, 10, 20, 40, 80)
    """Steps of DDIM."""
    batches: Sizes = (4, 16, 64, 256)
    """Images of 16 × 16 pixels at once."""
    depths: Sizes = (2, 4, 8, 16, 32)
    """Blocks of a transformer."""
    contexts: Sizes = (128, 512, 2048, 8192)
    """Tokens that a language model reads, or has before the next one."""
    devices: Sizes = (1, 2, 4, 8)
    """Devices into which one CPU is split, over which a batch is."""
    shared: Count = 64
    """Images of that batch; every number of devices divides it."""
    rounds: Several = 7
    """Times that every size is timed, in turn."""
    call_seconds: Positive = 0.1
    """Least length of a timed call in seconds: shorter work is repeated."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""


def check(config: Config) -> None:
    """ConfigError where sizes do not rise, or devices do not divide their batch."""
    for name in ("sides", "steps", "batches", "depths", "contexts", "devices"):
        ranges.rising(name, getattr(config, name))
    if odd := [side for side in config.sides if side % LEAST]:
        raise ConfigError(f"--sides {ranges.as_typed(config.sides)}: {odd[0]} is no multiple of {LEAST}")
    if uneven := [count for count in config.devices if config.shared % count]:
        raise ConfigError(f"--shared {config.shared} is no multiple of the {uneven[0]} devices of --devices")


@dataclasses.dataclass(frozen=True)
class Program:
    """What is timed at one size. flops: of a call, by formula. libraries: as of `devices.compiler_options`.

    carries: whether its last result is its last argument of the next call, which it may overwrite.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    flops: float
    carries: bool = False
    libraries: bool = True

    def compiled(self) -> tuple[jax.stages.Compiled, float]:
        """The program and the seconds of tracing and compiling it."""
        last = (len(self.arguments) - 1,) if self.carries else ()

        def fresh(*arguments: Any) -> Any:  # one that JAX has not traced before
            return self.function(*arguments)

        begin = time.perf_counter()
        jitted = devices.jit(fresh, libraries=self.libraries, donate_argnums=last)
        return jitted.lower(*self.arguments).compile(), time.perf_counter() - begin

    def work(self, compiled: jax.stages.Compiled) -> Callable[[], Any]:
        """The call, which can be done again and again."""
        carried = [jax.tree.map(jnp.copy, self.arguments[-1:])] if self.carries else [()]
        fixed = self.arguments[:-1] if self.carries else self.arguments

        def call() -> Any:
            result = compiled(*fixed, *carried[0])
            if self.carries:
                carried[0] = result[-1:]
            return result

        return call


def random_params(network: Any, *example: Any) -> Any:
    """Parameters by NumPy, which compiles nothing."""
    like, rng = (
        jax.eval_shape(functools.partial(networks.init, network), jax.random.key(0), *example),
        np.random.default_rng(0),
    )
    return jax.tree.map(lambda leaf: jnp.asarray(0.02 * rng.normal(size=leaf.shape), leaf.dtype), like)


def evaluation(network: Any, shape: tuple[int, ...], **options: Any) -> Program:
    """One call of a network of images (b, h, w, c)."""
    x, t = jnp.ones(shape), jnp.full(shape[:1], 500.0)
    params = random_params(network, x[:1], t[:1])
    flops = accounting.count(network, x, t, embeddings=True, params=params).forward_flops
    return Program(networks.pure(network), (params, x, t), flops, **options)


def sampling(steps: int) -> Program:
    """A draw of 4 images by DDIM."""
    once, schedule, shape = evaluation(UNET, (4, 16, 16, 3)), diffusion.schedules.linear(1000), (16, 16, 3)
    velocity = diffusion.parameterization.velocity()

    def draw(params: Any, levels: Any, index: Any) -> Any:
        denoise = diffusion.from_network(networks.pure(UNET), params, velocity)
        return diffusion.sample(jax.random.key(0), denoise, diffusion.samplers.ddim(), levels, shape, index)

    levels = diffusion.grids.trailing(schedule, steps)
    return Program(draw, (once.arguments[0], levels, jnp.arange(4)), steps * once.flops)


def gradient(attention: str, side: int) -> Program:
    """The gradient of the loss of a transformer on one image."""
    network = TRANSFORMER.clone(attention_implementation=attention)
    once = evaluation(network, (1, side, side, 4))

    def loss(params: Any, x: Any, t: Any) -> Any:
        return jnp.mean(jnp.square(networks.pure(network)(params, x, t) - x))

    return Program(jax.grad(loss), once.arguments, 3 * once.flops)


def reading(tokens: int) -> Program:
    """A language model reads a text in chunks, as far as the next token."""
    network, params, ids = _text(tokens)
    counted = accounting.count(network, ids, embeddings=True, params=params)

    def read(params: Any, ids: Any) -> Any:
        model, empty = language.from_network(networks.pure(network), params), caches.full(network, 1, tokens + 1)
        return language.generate(jax.random.key(0), model, empty, ids, jnp.arange(1), max_tokens=1).tokens

    return Program(read, (params, ids), counted.forward_flops, libraries=False)


def next_token(tokens: int) -> Program:
    """One more token behind others, whose keys and values are in a cache."""
    network, params, ids = _text(tokens)
    cache = records.replace(caches.full(network, 1, tokens), length=jnp.full(1, tokens - 1, jnp.int32))
    once = accounting.count(network, ids[:, :1], embeddings=True, params=params).forward_flops
    attention = cost.attention_flops(tokens - 1, network.depth, network.heads, network.width // network.heads)

    def step(params: Any, ids: Any, cache: Any) -> Any:
        logits, after = language.from_network(networks.pure(network), params)(ids, cache)
        return logits, records.replace(after, length=cache.length)

    return Program(step, (params, ids[:, :1], cache), float(once + attention), carries=True, libraries=False)


def uncached(tokens: int) -> Program:
    """One more token by reading the whole text again."""
    network, params, ids = _text(tokens)
    flops = accounting.count(network, ids, embeddings=True, params=params).forward_flops
    predict = networks.pure(network)
    return Program(lambda params, ids: predict(params, ids).logits[:, -1], (params, ids), flops, libraries=False)


def _text(tokens: int) -> tuple[Any, Any, Any]:
    """(network, parameters, ids (1, tokens)) of a language model that has room for one token more."""
    network, ids = networks.LanguageModel(context=tokens + 1, **WRITER), jnp.ones((1, tokens), jnp.int32)
    return network, random_params(network, ids[:, :2]), ids


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One quantity that grows.

    sizes: a field of the configuration, and the power in which the quantity has it. program: at one of them.
    memory: exponent of its bytes in theory, once they exceed those of parameters. compiles: whether the time to
    compile is measured too, which theory has as the quantity itself.
    """

    sizes: str
    program: Callable[[int], Program]
    memory: float
    power: int = 1
    compiles: bool = False


PIXELS, STEPS, BATCH, DEPTH = "pixels of a U-Net", "steps of DDIM", "images at once", "blocks of a transformer"
TRAINED, READ = "pixels of a transformer's gradient", "tokens that are read"
CACHED, DEVICES = "tokens before the next one, in a cache", "devices of one CPU"
WHOLE, AGAIN = "the same gradient, attention in one piece", "tokens before the next one, read again"
SWEEPS: Mapping[str, Sweep] = {
    PIXELS: Sweep("sides", lambda side: evaluation(UNET, (4, side, side, 3)), 1.0, power=2),
    STEPS: Sweep("steps", sampling, 0.0),
    BATCH: Sweep("batches", lambda batch: evaluation(UNET, (batch, 16, 16, 3)), 1.0),
    DEPTH: Sweep(
        "depths", lambda depth: evaluation(TRANSFORMER.clone(depth=depth), (1, 16, 16, 4)), 1.0, compiles=True
    ),
    TRAINED: Sweep("sides", functools.partial(gradient, "auto"), 1.0, power=2),
    READ: Sweep("contexts", reading, 1.0),
    CACHED: Sweep("contexts", next_token, 1.0),
    WHOLE: Sweep("sides", functools.partial(gradient, "heads_first"), 1.0, power=2),
    AGAIN: Sweep("contexts", uncached, 1.0),
}
CONTROLS = (WHOLE, AGAIN)


@dataclasses.dataclass(frozen=True)
class Growth:
    """What was measured along a quantity.

    x: (sizes,) of the quantity. seconds: (sizes, rounds) of a call. nbytes, flops: (sizes,) that it needs.
    compiling: (sizes, repeats) of seconds, or None.
    """

    x: np.ndarray
    seconds: np.ndarray
    nbytes: np.ndarray
    flops: np.ndarray
    compiling: np.ndarray | None = None


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Every quantity, and then the points behind the exponents."""
    growths: dict[str, Growth] = {}
    for name, sweep in SWEEPS.items():
        with progress.phase(name):
            growths[name] = swept(config, sweep)
        yield judged(config, name, growths[name], sweep.memory)
    with progress.phase(DEVICES):
        growths[DEVICES], memory = over_devices(config)
    yield judged(config, DEVICES, growths[DEVICES], memory)
    for name, growth in growths.items():
        for number, size in enumerate(growth.x):
            milliseconds = float(1e3 * np.median(growth.seconds[number]))
            points = {"ms": milliseconds, "mib": growth.nbytes[number] / 2**20, "gflop": growth.flops[number] / 1e9}
            yield Measured(f"{name}: {size:.0f}", points, n=config.rounds, group="points")


def swept(config: Config, sweep: Sweep) -> Growth:
    """All sizes of a quantity."""
    sizes: Sequence[int] = getattr(config, sweep.sizes)
    programs = {size: sweep.program(size) for size in sizes}
    compiled = {size: program.compiled() for size, program in programs.items()}
    works = {str(size): program.work(compiled[size][0]) for size, program in programs.items()}
    seconds = paired_timing.timed(works, config.rounds, config.call_seconds)
    compiling = None
    if sweep.compiles:
        # the first one of all loads and initialises what the others find ready
        compiling = np.array([[program.compiled()[1] for _ in range(COMPILATIONS)] for program in programs.values()])
    return Growth(
        np.array(sizes, np.float64) ** sweep.power,
        np.array([seconds[str(size)] for size in sizes]),
        np.array([float(program_costs.peak_bytes(compiled[size][0])) for size in sizes]),
        np.array([float(programs[size].flops) for size in sizes]),
        compiling,
    )


def over_devices(config: Config) -> tuple[Growth, float]:
    """One batch over several devices, each number of them in a process of its own; bytes are those of all together.

    With it comes the exponent of these in theory: each device has all parameters and its part of the rest.
    """
    answers = []
    for count in config.devices:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}".strip()
        numbers = map(str, (config.shared, config.rounds, config.call_seconds))
        command = [sys.executable, "-m", __name__, *numbers]
        environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=PROJECT)
        answers.append(json.loads(done.stdout.splitlines()[-1]))
    columns = (np.array([answer[name] for answer in answers]) for name in ("devices", "seconds", "nbytes", "flops"))
    growth, params = Growth(*columns), answers[0]["params"]
    return growth, intervals.exponent(growth.x, growth.x * params + growth.nbytes[0] - growth.x[0] * params)


def on_devices(batch: int, rounds: int, call_seconds: float) -> dict[str, Any]:
    """A U-Net on a batch that is split over all devices of this process."""
    program, mesh = evaluation(UNET, (batch, 16, 16, 3)), sharding.mesh()
    params, *inputs = program.arguments
    program = dataclasses.replace(program, arguments=(sharding.replicate(params, mesh), *sharding.shard(inputs, mesh)))
    compiled, _ = program.compiled()
    seconds = paired_timing.timed({"": program.work(compiled)}, rounds, call_seconds)[""]
    count = jax.device_count()
    nbytes = float(count * program_costs.peak_bytes(compiled))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return {
        "devices": float(count),
        "seconds": seconds,
        "nbytes": nbytes,
        "flops": float(program.flops),
        "params": held,
    }


def judged(config: Config, name: str, growth: Growth, memory: float) -> Measured:
    """Exponents beside those of theory, and what exceeds these."""
    slope, theory = functools.partial(intervals.exponent, growth.x), intervals.exponent(growth.x, growth.flops)
    spent, held = intervals.interval(slope, growth.seconds.T, resamples=config.resamples), slope(growth.nbytes)
    numbers: dict[str, Any] = {
        "time": spent,
        "time in theory": theory,
        "time above": tuple(end - theory for end in spent),
        "memory": held,
        "memory in theory": memory,
        "memory above": held - memory,
    }
    if growth.compiling is not None:
        numbers["compiling above"] = intervals.interval(
            lambda seconds: slope(seconds) - 1.0, growth.compiling.T, resamples=config.resamples
        )
    arrays = {"x": growth.x, "time": np.median(growth.seconds, 1), "memory": growth.nbytes}
    return Measured(name, numbers, n=config.rounds, arrays=arrays)


def plot(what: str, measured: Measurements, folder: RunFolder) -> Figure:
    """Seconds or bytes over those of the smallest size beside what theory has, a panel a quantity."""
    panels = []
    for each in measured:
        if each.arrays:
            x, y = (each.arrays[key] / each.arrays[key][0] for key in ("x", what))
            theory: Any = each.measures[f"{what} in theory"]
            panels.append(Panel(each.name, [Curve("measured", x, y), Curve("in theory", x, x**theory, reference=True)]))
    caption = f"{'Seconds' if what == 'time' else 'Bytes'} over those of the smallest size, by the size over it."
    options: Any = {"x_label": "times as large", "columns": 3, "log_x": True, "log_y": True}
    return figures.small_multiples(panels, folder.figure(what), caption, **options)


def _claims() -> Iterator[ClaimRow]:
    reason = "the room of the aim: ten times the size may cost 1.41 times what theory has, for caches and idle cores"
    for name in (*SWEEPS, DEVICES):
        if name not in CONTROLS:
            for what in ("time", "memory"):
                more: Any = {"role": "aim", "reason": reason, "figure": f"{what}.png"}
                yield claim(name, f"{what} above", "<=", MARGIN, **more)
    reason = "each block is traced and compiled by itself"
    yield claim(DEPTH, "compiling above", "<=", MARGIN, role="aim", reason=reason)


EXPERIMENT = Study(
    name="growth",
    config=Config,
    presets={"full": Config()},
    smoke=Config((8, 16), (1, 2), (1, 2), (1, 2), (8, 16), (1, 2), 2, 2, 1e-4, 20),
    train=None,
    measure=measure,
    words={
        "time": "exponent of the time",
        "time in theory": "that of the operations",
        "time above": "exponent of the time, less that of the operations",
        "memory": "exponent of the memory",
        "memory in theory": "that of theory",
        "memory above": "exponent of the memory, less that of theory",
        "compiling above": "exponent of the time to compile, less 1",
        "ms": "ms",
        "mib": "MiB",
        "gflop": "GFLOP",
    },
    claims=tuple(_claims()),
    controls=(
        control(WHOLE, "memory", against=TRAINED, by=">=", margin=0.3, id="whole", figure="memory.png"),
        control(AGAIN, "time", against=CACHED, by=">=", margin=0.3, id="again", figure="time.png"),
    ),
    figures=(functools.partial(plot, "time"), functools.partial(plot, "memory")),
    tables={
        "": (
            "Exponents by what grows: 1 is in proportion.",
            "Time in theory is that of the operations by formula. Memory is what XLA says that the program needs, "
            "parameters among it, so that it grows more slowly than theory while these are most of it.",
        ),
        "points": ("One call at each size: median milliseconds, memory, operations.", ""),
    },
    answer=Answer(
        text="of seconds, the exponent above that of theory is {pixels-of-a-u-net-time-above:.2f interval} by pixels "
        "and {tokens-that-are-read-time-above:.2f interval} by tokens that are read",
        picture="time.png",
        before=(
            Change(
                "2026-12-01",
                "cb06d4b",
                "The first full run met all aims as well. Its plots had the other quantities in grey where theory "
                "stands now; numbers and thresholds are unchanged.",
                "A slope is read beside the slope that it is held against.",
            ),
        ),
    ),
    more={"check": check},
).experiment()

if __name__ == "__main__":
    print(json.dumps(on_devices(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
