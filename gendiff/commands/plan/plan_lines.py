"""The lines that `plan` prints."""

import dataclasses
import math

from gendiff.commands.plan import device_work, named_devices
from gendiff.commands.plan.device_work import Compiled, Planned, Work
from gendiff.commands.plan.named_devices import Devices
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.runs import compile_cache, devices
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.runs.reporting import formatting
from gendiff.scaling import Accelerator, roofline
from gendiff.scaling.quantities import Number


def call(options: PlanOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Prints the plan. Raises ConfigError for a network that does not fit its pictures, before it is traced."""
    if options.smoke:
        options = dataclasses.replace(
            options, network="dit-tiny/2", shape=(8, 8, 3), classes=2, batch=8, mesh="data=1", compiled=True
        )
    devices.only_cpu()
    compile_cache.use(say=progress.line)
    machine = named_devices.devices(options)
    device = machine.one.times(flops=options.flops_share, bandwidth=options.bandwidth_share)
    if options.model is not None:
        from gendiff.commands.plan import folder_lines

        progress.line(f"tracing {options.model} …")
        print("\n".join(folder_lines.lines(options, machine, device)), flush=True)
        return
    progress.line(f"tracing {options.network} …")
    planned = device_work.planned(options, machine)
    for line in lines(options, machine, planned, device):
        print(line, flush=True)
    if options.compiled:
        progress.line("compiling for this CPU …")
        with devices.compiled_quickly(options.smoke):
            print(of_compiled("training step", device_work.compiled_step(planned), planned.step, device), flush=True)
            evaluation = device_work.compiled_evaluation(planned, options.guided)
            print(of_compiled("evaluation", evaluation, planned.evaluation, device), flush=True)


def lines(options: PlanOptions, machine: Devices, planned: Planned, device: Accelerator) -> list[str]:
    """All but what takes a compiler. device: one of them, at the shares of its rates that are reached."""
    step, evaluation, one, scaled = planned.step, planned.evaluation, machine.one, formatting.scaled
    taken = roofline.program_time(evaluation.flops, evaluation.moved, device) * options.steps
    seconds = _seconds(roofline.program_time(step.flops, 2 * step.memory, device))
    many = f"{machine.parts} × {one.name}" if machine.parts > 1 else one.name
    height, width, channels = options.shape
    return [
        f"{options.network} in {machine.dtype} on {many}: {planned.parameters / 1e6:.1f} M parameters, {height} × "
        f"{width} × {channels}, {options.classes or 'no'} classes, batch {options.batch}"
        + (f", {step.batch} per device" if machine.parts > 1 else ""),
        f"one device: {scaled(one.flops, 'FLOP/s')}, {scaled(one.bandwidth, 'B/s')}, {_memory(one)} ({one.source})",
        *([] if device.flops == one.flops and device.bandwidth == one.bandwidth else [_reached(options)]),
        _bound("training step", step, device, options.batch),
        f"  {seconds} if what the backward pass needs passes through memory too",
        f"  memory: {scaled(step.fixed, 'B')} for parameters, moments, average and gradient, and at most "
        f"{scaled(step.memory - step.fixed, 'B')} for the backward pass{_largest(step, one)}",
        f"  XLA counts {scaled(planned.counted, 'FLOP')} in the gradient before it optimises, with all that is no "
        "product",
        _bound("evaluation", evaluation, device, options.batch),
        f"  {options.batch} samples of {options.steps} steps{', guided' if options.guided else ''}: at least "
        f"{_seconds(taken)}, at most {formatting.number(float(options.batch / taken))} samples per second",
        f"  memory: {scaled(evaluation.fixed, 'B')} for parameters and "
        f"{scaled(evaluation.memory - evaluation.fixed, 'B')} for samples; activations come on top, and --compiled "
        "estimates them",
        *_notes(machine, planned),
    ]


def of_compiled(title: str, program: Compiled, work: Work, device: Accelerator) -> str:
    """A line on a compiled program: an estimate, for the compiler of another device fuses other operations."""
    seconds = _seconds(roofline.program_time(work.flops, program.moved, device))
    memory, moved = formatting.scaled(program.memory, "B"), formatting.scaled(program.moved, "B")
    each = max(1.0, (program.memory - work.fixed) / work.batch)
    largest = _largest(dataclasses.replace(work, each=each), device)
    return f"{title} as compiled for this CPU, an estimate: {memory} of memory{largest}; {moved} moved, so {seconds}"


def _reached(options: PlanOptions) -> str:
    return (
        f"estimates with {options.flops_share:g} of its arithmetic and {options.bandwidth_share:g} of its "
        "bandwidth, in place of bounds:"
    )


def _bound(title: str, work: Work, device: Accelerator, batch: int) -> str:
    arithmetic, memory = work.flops / device.flops, work.moved / device.bandwidth
    seconds = roofline.program_time(work.flops, work.moved, device)
    used, rate = f"{100 * work.useful / (seconds * device.flops):.0f} %", formatting.number(float(batch / seconds))
    return (
        f"{title}: at least {_seconds(seconds)}, bound by {roofline.bound(work.flops, work.moved, device)}, for "
        f"{formatting.scaled(work.flops, 'FLOP')} take "
        f"{_seconds(arithmetic)} and {formatting.scaled(work.moved, 'B')} take {_seconds(memory)}; at most {rate} "
        f"samples per second, utilisation at most {used}"
    )


def _memory(device: Accelerator) -> str:
    return formatting.scaled(device.memory, "B") if math.isfinite(device.memory) else "memory unknown"


def _largest(work: Work, device: Accelerator) -> str:
    if math.isinf(device.memory):
        return ""
    return f"; the largest batch per device is {roofline.largest_batch(work.fixed, work.each, device)}"


def _notes(machine: Devices, planned: Planned) -> list[str]:
    notes = ["what devices send to each other takes no time here"] if machine.parts > 1 else []
    for title, work in (("training", planned.step), ("drawing", planned.evaluation)):
        if work.memory > machine.one.memory:
            smaller = "a smaller --batch, --remat all or more devices"
            cure = smaller if work.fixed < machine.one.memory else "--mesh fsdp=N, which splits the parameters"
            notes.append(
                f"{title} does not fit: it needs {formatting.scaled(work.memory, 'B')} per device; give {cure}"
            )
    return [f"note: {note}" for note in notes]


def _seconds(value: Number) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms" if value >= 1e-3 else f"{1e6 * value:.3g} µs"
