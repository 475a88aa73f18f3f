"""Compilations for tests that compile more than they compute."""

import functools

import jax

quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jax.jit` by XLA without LLVM's optimisations, which takes half of the time."""


def in_numpy(function, **options):
    """`quickly`, with results of NumPy: what a test then asks of them is not compiled."""
    compiled = quickly(function, **options)
    return functools.wraps(function)(lambda *args, **kwargs: jax.device_get(compiled(*args, **kwargs)))
