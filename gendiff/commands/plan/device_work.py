"""What a training step and an evaluation take on one device: by formulas from shapes alone, and as XLA compiles them
for this CPU.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from gendiff.commands.images import image_model
from gendiff.commands.images.image_model import Model
from gendiff.commands.plan.named_devices import Devices
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.commands.train import facts, training_cost
from gendiff.commands.train.config import Config
from gendiff.commands.train.facts import Data, Described
from gendiff.core.types import Lowered, PyTree
from gendiff.diffusion.types import Batch
from gendiff.runs import devices, program_costs
from gendiff.scaling import accounting

NUMBER = 4
"""Bytes of a number in float32, as parameters and samples are."""
FORWARD = {"none": 3, "products": 3, "all": 4}
"""How often a training step does the products of a forward pass, by --remat."""


@dataclasses.dataclass(frozen=True)
class Work:
    """One call of a program on one device, which has `batch` of the samples.

    useful: operations of the network's products. flops: with those that are done again. fixed: bytes in memory whatever
        the batch.
    each: further bytes for each sample. moved: bytes that pass between memory and arithmetic at least.
    """

    useful: float
    flops: float
    fixed: float
    each: float
    batch: int
    moved: float

    @property
    def memory(self) -> float:
        """Bytes."""
        return self.fixed + self.each * self.batch


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What XLA says of a program that it compiled for this CPU. memory: bytes at a time. moved: bytes that its
    operations move.
    """

    memory: int
    moved: float


@dataclasses.dataclass(frozen=True)
class Planned:
    """A network with its training step and its evaluation.

    counted: operations of the gradient of the samples of one device, as XLA counts them before it optimises.
    """

    config: Config
    model: Model
    parameters: int
    step: Work
    evaluation: Work
    counted: float


def planned(options: PlanOptions, machine: Devices) -> Planned:
    """From shapes alone: nothing is computed. ConfigError for a network that is unknown or does not fit the shape."""
    config = Config(network=options.network, dtype=machine.dtype, remat=options.remat)  # type: ignore[arg-type]  # no `auto`
    data = Data("", "", 0, 0, 0, options.shape, 256, tuple(map(str, range(options.classes))))
    plain = facts.model(Described(config, data))
    model = training_cost.at_once(plain)
    cost, batch = training_cost.cost(config, plain), options.batch // machine.parts
    forward = float(*training_cost.over_blocks(plain, _forward_flops)) * batch
    state, params = (
        NUMBER * count * cost.parameters / machine.shards
        for count in (training_cost.STATE + training_cost.MOMENTS[config.optimizer], 1)
    )
    # all of it is read and written
    step = Work(3 * forward, FORWARD[options.remat] * forward, state, cost.kept, batch, 2 * state)
    rows = 2 if options.guided else 1
    sample = 2.0 * NUMBER * rows * math.prod(data.shape)  # what goes in and what comes out
    evaluation = Work(rows * forward, rows * forward, params, sample, batch, params + sample * batch)
    return Planned(config, model, cost.parameters, step, evaluation, cost.flops * batch)


def compiled_step(job: Planned) -> Compiled:
    """The training step of one device, with AdamW and one average."""
    from gendiff import training
    from gendiff.training import optimizers, sharding

    mesh = sharding.mesh(devices=jax.local_devices()[:1])
    optimizer = optimizers.adamw(1e-4, warmup=1, total=2)
    loss = image_model.loss(job.model, job.config.drop_condition)
    compile_loss = functools.partial(training.compile_loss, loss, optimizer, job.model.init, mesh)
    run = compile_loss(ema=(job.config.ema,), compiler_options=devices.compiler_options(libraries=False))
    inputs: PyTree = _inputs(job.model, job.step.batch)
    return _compiled(
        run.step.lower(jax.eval_shape(run.fresh, jax.random.key(0)), Batch(clean=inputs[0], condition=inputs[2:]))
    )


def compiled_evaluation(job: Planned, guided: bool) -> Compiled:
    """The network on the samples of one device."""
    params = jax.eval_shape(job.model.init, jax.random.key(0))
    predict = devices.jit(job.model.predict, libraries=False)
    return _compiled(predict.lower(params, *_inputs(job.model, job.evaluation.batch * (2 if guided else 1))))


def _forward_flops(model: Model) -> tuple[int]:
    """Of one sample."""
    return (accounting.count(training_cost.module(model), *_inputs(model, 1), embeddings=True).forward_flops,)


def _compiled(lowered: Lowered) -> Compiled:
    program = lowered.compile()
    return Compiled(program_costs.peak_bytes(program), program_costs.moved_bytes(program))


def _inputs(model: Model, batch: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """(x, t, *condition) of the network, as shapes."""
    x, t = jax.ShapeDtypeStruct((batch, *model.shape), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.float32)
    return (x, t, jax.ShapeDtypeStruct((batch,), jnp.int32)) if model.num_classes else (x, t)
