"""Working memory of a program by its jaxpr: the most bytes that live at once beside arguments and results.

Nothing is compiled. A compiler fuses operations on single numbers and changes of shape into the operation that needs
them, so their results take no memory here. An array is in memory where a product, a convolution or a loop writes or
reads it, and where several operations would need two others in its place. It leaves after its last use.

References:
    Chen et al., 2016, section 3, for liveness on a graph (from memory).
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gendiff.core.types import PyTree
from gendiff.networks.fast import cpu_attention
from gendiff.networks.layers import attention

SAME = ("reshape", "squeeze", "expand_dims", "name", "copy", "optimization_barrier", "stop_gradient")
"""Primitives whose results are their arguments."""
WRITERS = ("dot_general", "conv_general_dilated", "scan", "while", "cond", "sort", "top_k", "ffi_call", "pure_callback")
"""Those that read and write arrays in memory."""
READERS = ("reduce_", "arg", "cum", "gather", "scatter", "dynamic_update_slice", "random_", "threefry")
"""How the names of those begin that write arrays, and are fused with what they read."""
BRANCHES = ("cond", "scan", "while")
Equation = Any  # JAX names the class only in private
OneKernel = Callable[[Equation], bool]
"""Whether one kernel computes an equation that calls a function, without arrays of its own in memory."""


def working_bytes(function: Callable[..., PyTree], *arguments: PyTree, one_kernel: OneKernel | None = None) -> int:
    """Estimate the bytes that a call needs beside its arguments and its result.

    Also known as: peak activation memory.

    XLA on a CPU needs between 2/3 and 3/2 of it in float32, as tests measure. What libraries take for themselves is not
    in it.

    Args:
        function: of arrays, as `jax.jit` takes it.
        *arguments: of the function; arrays may be `jax.ShapeDtypeStruct`s.
        one_kernel: of equations whose insides stay out of memory, as of flash attention. None: of none.
    """
    return _peak(jax.make_jaxpr(function)(*arguments).jaxpr, one_kernel)


def attention_kernels(backend: str) -> OneKernel:
    """Say of equations whether they are attention that one kernel computes on a backend, without a matrix of scores.

    On a GPU that is cuDNN, where `attention.attend` takes it; on a CPU what XLA makes of attention without a mask and
    a bias.

    Args:
        backend: "cpu", "gpu" or "tpu", where networks are traced with attention_implementation="heads_first".
    """

    def one_kernel(equation: Equation) -> bool:
        marks = (inner.params.get("name") for each in _jaxprs(equation) for inner in each.eqns)
        if cpu_attention.MIXED not in marks:
            return False
        query, key, _, *added = (variable.aval for variable in equation.invars)
        if backend == "gpu":
            query, key = (jax.ShapeDtypeStruct(_tokens_first(each.shape), each.dtype) for each in (query, key))
            return attention.suits_cudnn(query, key, bool(added))
        return backend == "cpu" and not added

    return one_kernel


def _tokens_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    batch, heads, tokens, size = shape
    return batch, tokens, heads, size


class _Step(NamedTuple):
    """One operation. reads, writes: numbers of values. inside: bytes that it needs meanwhile."""

    kind: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    inside: int = 0


@dataclass
class _Flat:
    """A jaxpr without calls. sizes: bytes of each value."""

    one_kernel: OneKernel | None
    steps: list[_Step] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def new(self, variable: Any) -> int:
        """The number of a new value."""
        self.sizes.append(variable.aval.size * variable.aval.dtype.itemsize)
        return len(self.sizes) - 1

    def add(self, jaxpr: Jaxpr, arguments: Sequence[int | None]) -> list[int | None]:
        """Append the operations of a jaxpr; the numbers of its results, None where one is a constant."""
        numbers: dict[Any, int | None] = dict.fromkeys(jaxpr.constvars)
        numbers |= dict(zip(jaxpr.invars, arguments, strict=True))

        def known(variables: Iterable[Any]) -> list[int | None]:
            return [None if isinstance(each, Literal) else numbers[each] for each in variables]

        for equation in jaxpr.eqns:
            name, reads = equation.primitive.name, known(equation.invars)
            inner = list(_jaxprs(equation))
            results: list[int | None]
            if name in SAME and len(reads) == len(equation.outvars):
                results = reads
            elif len(inner) == 1 and name not in BRANCHES and not (self.one_kernel and self.one_kernel(equation)):
                results = self.add(inner[0], reads)
            else:
                writes = [self.new(each) for each in equation.outvars]
                results = list(writes)
                inside = max((_peak(each, self.one_kernel) for each in inner if name in BRANCHES), default=0)
                kind = "writer" if name in WRITERS or inner else "reader" if name.startswith(READERS) else "fused"
                numbered = tuple(each for each in reads if each is not None)
                self.steps.append(_Step(kind, numbered, tuple(writes), inside))
            numbers |= dict(zip(equation.outvars, results, strict=True))
        return known(jaxpr.outvars)


def _jaxprs(equation: Equation) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, ClosedJaxpr | Jaxpr):
                yield each.jaxpr if isinstance(each, ClosedJaxpr) else each


def _peak(jaxpr: Jaxpr, one_kernel: OneKernel | None) -> int:
    flat = _Flat(one_kernel)
    arguments = [flat.new(each) for each in jaxpr.invars]
    results = {each for each in flat.add(jaxpr, arguments) if each is not None}
    events = _events(_needed(flat.steps, results), flat.sizes, set(arguments), results)
    return _simulated(events, flat.sizes, results.union(arguments))


def _needed(steps: list[_Step], results: set[int]) -> list[_Step]:
    """Those whose results are read."""
    values, backwards = set(results), []
    for step in reversed(steps):
        if values.intersection(step.writes):
            values.update(step.reads)
            backwards.append(step)
    return backwards[::-1]


class _Event(NamedTuple):
    """Something that happens in memory. writes: values that take memory. inside: bytes that it needs meanwhile."""

    reads: frozenset[int]
    writes: tuple[int, ...]
    inside: int = 0


def _simulated(events: list[_Event], sizes: list[int], free: set[int]) -> int:
    """The most bytes at once. free: values that are not counted."""
    last: dict[int, int] = {}
    for time, event in enumerate(events):
        last |= dict.fromkeys((*event.reads, *event.writes), time)
    live, peak = 0, 0
    for time, event in enumerate(events):
        live += sum(sizes[value] for value in event.writes if value not in free)
        peak = max(peak, live + event.inside)
        ended = {*event.reads, *event.writes} - free
        live -= sum(sizes[value] for value in ended if last[value] == time)
    return peak


def _events(steps: list[_Step], sizes: list[int], arguments: set[int], results: set[int]) -> list[_Event]:
    uses = collections.Counter(value for step in steps for value in set(step.reads))
    sources = {value: frozenset((value,)) for value in arguments}
    events: list[_Event] = []

    def materialise(value: int) -> None:
        if sources[value] != {value}:
            events.append(_Event(sources[value], (value,)))
            sources[value] = frozenset((value,))

    for step in steps:
        if step.kind == "writer":
            for value in step.reads:
                materialise(value)
        reads = frozenset[int]().union(*(sources[value] for value in step.reads))
        if step.kind != "fused":
            events.append(_Event(reads, step.writes, step.inside))
            sources |= {value: frozenset((value,)) for value in step.writes}
            continue
        for value in step.writes:
            sources[value] = reads
            large = [each for each in reads if 2 * sizes[each] >= sizes[value]]
            if value in results or (uses[value] > 1 and len(large) > 1):
                materialise(value)
    return events
