"""A compiled function that counts its traces: JAX's own cache loses entries in a process that compiles many
programs.
"""

import functools

import jax


class Traced:
    """`jax.jit(function, **options)`, with the number of its traces as `traces`."""

    def __init__(self, function, jit=jax.jit, **options):
        self.traces = 0

        @functools.wraps(function)
        def counted(*args, **kwargs):
            self.traces += 1
            return function(*args, **kwargs)

        self._run = jit(counted, **options)

    def __call__(self, *args, **kwargs):
        return self._run(*args, **kwargs)
