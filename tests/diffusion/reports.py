"""What a network reports while its program runs: how often it is asked, and of how many samples."""

import jax


class Reports:
    """Numbers that reach the host from inside of a compiled program."""

    def __init__(self):
        self._numbers = []

    def add(self, number=1):
        """To be called in the network; the number is known when it is traced."""
        jax.debug.callback(lambda: self._numbers.append(number))

    def during(self, function, *arguments, **options):
        """What the function returns, in NumPy, and the sum of what was reported."""
        jax.effects_barrier()
        self._numbers.clear()
        result = jax.device_get(function(*arguments, **options))
        jax.effects_barrier()
        return result, sum(self._numbers)
