"""A compilation for tests that compile more than they compute: XLA without LLVM's optimisations takes half of the time."""

import functools

import jax

quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
