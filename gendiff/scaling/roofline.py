"""The roofline model: bounds of a program's time and of serving, by the two rates of a device.

Real programs are slower. Give a device its reached shares, `accelerator.times(flops=0.5, bandwidth=0.8)`, to estimate
rather than to bound.
"""

import dataclasses
import math

import numpy as np

from gendiff.core import checks
from gendiff.scaling.accelerators import Accelerator
from gendiff.scaling.cost import forward_flops
from gendiff.scaling.quantities import Number, not_negative, positive


@dataclasses.dataclass(frozen=True)
class ServingCurve:
    """Latency and throughput against the number of texts at once.

    Args:
        batch: (n,) texts at once.
        seconds: (n,) of a step, which is the time per token of each text.
        throughput: (n,) tokens per second, of all texts together.
        memory: (n,) bytes of parameters and caches.
        fits: (n,) whether these are no more than the device has.
    """

    batch: np.ndarray
    seconds: np.ndarray
    throughput: np.ndarray
    memory: np.ndarray
    fits: np.ndarray


def program_time(flops: Number, moved: Number, accelerator: Accelerator) -> Number:
    """Least seconds of a program: max(flops / F, moved / W), the longer one of arithmetic and memory traffic.

    Args:
        flops: operations.
        moved: bytes that are read or written.
        accelerator: what computes.

    References:
        Williams et al., 2009; Austin et al., How to Scale Your Model, 2025, Rooflines.
    """
    not_negative(flops=flops, moved=moved)
    return np.maximum(flops / accelerator.flops, moved / accelerator.bandwidth)


def bound(flops: int | float, moved: int | float, accelerator: Accelerator) -> str:
    """Return what bounds `program_time`: "arithmetic" or "memory".

    Args:
        flops: operations.
        moved: bytes that are read or written.
        accelerator: what computes.
    """
    return "arithmetic" if flops / accelerator.flops >= moved / accelerator.bandwidth else "memory"


def step_time(
    batch: Number, parameters: Number, parameter_bytes: Number, cache_bytes: Number, accelerator: Accelerator
) -> Number:
    """Least seconds to generate one token for each text of a batch.

    batch · cache_bytes / bandwidth + max(2 · batch · parameters / flops, parameter_bytes / bandwidth). Attention reads
    its cache once for few operations, so memory always bounds it.

    Args:
        batch: texts at once.
        parameters: that each token is multiplied by; of a mixture of experts, the active ones.
        parameter_bytes: that the step reads; of a mixture of experts, those of every expert that some token goes to.
        cache_bytes: of the keys and values of one text.
        accelerator: what computes.

    References:
        Austin et al., How to Scale Your Model, 2025, Inference, "Theoretical Step Time (General)".
    """
    not_negative(batch=batch, parameter_bytes=parameter_bytes, cache_bytes=cache_bytes)
    return batch * cache_bytes / accelerator.bandwidth + program_time(
        forward_flops(parameters, batch), parameter_bytes, accelerator
    )


def prefill_time(
    tokens: Number, parameters: Number, parameter_bytes: Number, accelerator: Accelerator, attention: Number = 0.0
) -> Number:
    """Least seconds to read prompts: the longer one of their operations and one pass over the parameters.

    Args:
        tokens: of all prompts together.
        parameters: that each token is multiplied by.
        parameter_bytes: that are read.
        accelerator: what computes.
        attention: operations per token that grow with the context (`cost.attention_flops(cost.mean_seen(tokens), …)`).
    """
    not_negative(parameter_bytes=parameter_bytes)
    return program_time(forward_flops(parameters, tokens, attention), parameter_bytes, accelerator)


def critical_batch(accelerator: Accelerator, bytes_per_parameter: Number = 2.0, active_share: Number = 1.0) -> Number:
    """Tokens at once from which arithmetic bounds matrix products: intensity · bytes_per_parameter / 2 / active_share.

    Args:
        accelerator: what computes. Its `flops` are those of the arithmetic in use, whatever the parameters are kept in.
        bytes_per_parameter: 2 for bfloat16, 1 for int8.
        active_share: active over all parameters of a mixture of experts, in (0, 1].

    References:
        Austin et al., How to Scale Your Model, 2025, Inference, "Linear operations".
    """
    positive(bytes_per_parameter=bytes_per_parameter)
    positive(1.0, active_share=active_share)
    return accelerator.intensity * bytes_per_parameter / 2 / active_share


def largest_batch(parameter_bytes: int | float, cache_bytes: int | float, accelerator: Accelerator) -> int:
    """The number of texts that fit at once beside the parameters; 0 where not even one does.

    Args:
        parameter_bytes: of all parameters.
        cache_bytes: of one text, above 0.
        accelerator: whose memory is used, all of it.

    Raises:
        ValueError: for a device without a stated memory.
    """
    not_negative(parameter_bytes=parameter_bytes)
    positive(cache_bytes=cache_bytes)
    if math.isinf(accelerator.memory):
        raise ValueError(f"the memory of {accelerator.name} is not stated: give Accelerator(…, memory=bytes)")
    return max(0, math.floor((accelerator.memory - parameter_bytes) / cache_bytes))


def serving_curve(
    batches: np.ndarray, parameters: Number, parameter_bytes: Number, cache_bytes: Number, accelerator: Accelerator
) -> ServingCurve:
    """Compute the bounds for several batches; a machine that does not hold one is still computed, and marked.

    Args:
        batches: (n,) texts at once, at least 1.
        parameters: as `step_time` takes them, like the rest.
        parameter_bytes: that are held, and read at each step.
        cache_bytes: of one text.
        accelerator: what computes.
    """
    checks.in_range("batches", batches, 1.0, math.inf)
    batch = np.asarray(batches)
    seconds = np.asarray(step_time(batch, parameters, parameter_bytes, cache_bytes, accelerator))
    memory = parameter_bytes + batch * cache_bytes
    return ServingCurve(batch, seconds, batch / seconds, memory, memory <= accelerator.memory)
