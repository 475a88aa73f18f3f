"""What `plan --model DIR` prints: what a draw with a folder of diffusers takes at best. No array of it is read."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from gendiff import networks
from gendiff.commands.plan.named_devices import Devices
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.core import foreign_files, records, trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params, PyTree
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened
from gendiff.pipelines.stable_diffusion.model_parts import STORAGES, TOKENIZERS, TOWERS, Part
from gendiff.runs.reporting import formatting
from gendiff.scaling import Accelerator, accounting, roofline
from gendiff.weights import quantised
from gendiff.weights.quantised import Packing, quantisation

SMALL = ("int8", "int4")
"""Ways to keep kernels that the plan counts too."""


@dataclasses.dataclass(frozen=True)
class PlannedPart:
    """One part of a folder. flops: of one call for one picture. calls: how often a draw calls it.

    stored: bytes of its parameters in memory, by how kernels are kept.
    """

    name: str
    parameters: int
    stored: Mapping[str, int]
    flops: float
    calls: int

    @property
    def nbytes(self) -> int:
        """Of its parameters as arrays."""
        return self.stored["full"]

    def seconds(self, device: Accelerator) -> float:
        """Least time of all calls: each reads the parameters once."""
        return float(roofline.program_time(self.flops, self.nbytes, device)) * self.calls


def lines(options: PlanOptions, machine: Devices, device: Accelerator) -> list[str]:
    """The plan. device: one of `machine`, at the shares of its rates that are reached.

    Raises ConfigError for options that do not fit the folder, and DataError for the folder.
    """
    dtype = "float32" if machine.dtype == "float32" else "bfloat16"
    model = stable_diffusion.open_model(foreign_files.expanded(str(options.model)), dtype=dtype)
    try:
        height, width = model.sides(*(options.size or (None, None)))
        steps = len(model.grid(options.steps, height, width)) - 1
    except ValueError as error:
        raise ConfigError(str(error)) from error
    parts = planned(model, height, width, steps, 2 if options.guided else 1)
    scaled, memory, one = formatting.scaled, sum(part.nbytes for part in parts), machine.one
    report = [
        f"{options.model}: {model.index.kind.name} ({model.index.pipeline}) in {dtype} on {one.name}: "
        f"a picture of {height} × {width}, {formatting.amount(steps, 'step')}{', guided' if options.guided else ''}"
    ]
    for part in parts:
        calls = f", {part.calls} calls" if part.calls > 1 else ""
        report.append(
            f"  {part.name}: {part.parameters / 1e6:.1f} M parameters, {scaled(part.nbytes, 'B')}; "
            f"{scaled(part.flops, 'FLOP')} a call{calls}, at least {part.seconds(device):.3g} s, bound by "
            f"{roofline.bound(part.flops, part.nbytes, device)}"
        )
    report.append(f"a picture: at least {sum(part.seconds(device) for part in parts):.3g} s")
    report.append(
        f"memory: {scaled(memory, 'B')} for all parameters, at most {scaled(_drawing(parts), 'B')} at once, for text "
        "encoders leave before the others come; activations come on top"
    )
    small = {storage: _drawing(parts, storage) for storage in SMALL}
    sizes = (f"{scaled(nbytes, 'B')} with --storage {storage}" for storage, nbytes in small.items())
    report.append(f"  {', '.join(sizes)}")
    if _drawing(parts) > one.memory:
        fitting = next((storage for storage in SMALL if small[storage] <= one.memory), None)
        advice = "no storage of one device fits" if fitting is None else f"give text-to-image --storage {fitting}"
        report.append(f"note: {one.name} has {scaled(one.memory, 'B')}: {advice}")
    return report


def _drawing(parts: list[PlannedPart], storage: str = "full") -> int:
    """Most bytes of parameters at once: text encoders leave before the others come."""
    texts = [part for part in parts if part.name in TOWERS]
    others = [part for part in parts if part.name not in TOWERS]
    return max(sum(part.stored[storage] for part in group) for group in (texts, others))


def planned(model: Opened, height: int, width: int, steps: int, rows: int) -> list[PlannedPart]:
    """Each part that a draw of one picture calls. rows: how often guidance asks the network in a step."""
    lengths = {tower: tokenizer.length for tower, tokenizer in zip(_towers(model), model.tokenizers, strict=True)}
    parts = [_planned(model, name, (jax.ShapeDtypeStruct((1, lengths[name]), jnp.int32),), rows) for name in lengths]
    factor, part = model.autoencoder.factor, model.parts[model.network_name]
    latent = height // factor, width // factor
    groups = [[lengths[name] for name in group if name in lengths] for group in model.index.kind.tokens]
    tokens = sum(group[0] if group else model.index.kind.longest for group in groups)
    parts.append(_planned(model, part.name, _inputs(part, latent, tokens), steps * rows))
    x = jax.ShapeDtypeStruct((1, *latent, model.autoencoder.latent_channels), jnp.float32)
    return [*parts, _planned(model, "vae", (x,), 1, "decode")]


def _towers(model: Opened) -> list[str]:
    names = dict(zip(TOKENIZERS, TOWERS, strict=True))
    return [names[name] for name in TOKENIZERS if name in model.index.parts]


def _planned(
    model: Opened, name: str, inputs: tuple[PyTree, ...], calls: int, method: str | None = None
) -> PlannedPart:
    part = model.parts[name]
    shapes = part.shapes(jnp.float32 if name == "vae" else jnp.dtype(model.dtype))
    stored = {storage: STORAGES[storage] if name != "vae" else () for storage in ("full", *SMALL)}
    counted = accounting.count(part.network, *inputs, embeddings=True, method=method, params=shapes)
    nbytes = {storage: _nbytes(shapes, packing) for storage, packing in stored.items()}
    return PlannedPart(name, networks.count(shapes), nbytes, counted.forward_flops, calls)


def _nbytes(shapes: Params, packing: Sequence[Packing]) -> int:
    """Of parameters of these shapes, packed by rules."""
    total = 0
    for path, leaf in trees.paths(shapes).items():
        rule = quantisation.rule_of(path, leaf, packing)
        if rule is None or rule.kind is None:
            total += quantised.nbytes(leaf)
        else:
            pack = functools.partial(quantised.packed_array, kind=rule.kind, table=rule.table)
            total += quantised.nbytes(jax.eval_shape(pack, leaf))
    return total


def _inputs(part: Part, latent: tuple[int, int], tokens: int) -> tuple[PyTree, ...]:
    """Those of the network of latents, as shapes."""
    x, t, *others = part.reader.example(part.network, part.channels)
    conditions = []
    for condition in others:
        if isinstance(condition, networks.Text):
            text = jax.ShapeDtypeStruct((1, tokens, condition.tokens.shape[-1]), jnp.float32)
            condition = records.replace(condition, tokens=text, mask=jax.ShapeDtypeStruct((1, tokens), jnp.bool_))
        conditions.append(condition)
    return jax.ShapeDtypeStruct((1, *latent, x.shape[-1]), jnp.float32), t, *conditions
