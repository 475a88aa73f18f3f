"""What is exact for Gaussian data of standard deviation `std`: networks of two times, whose params is that std, and
where they lead.

On the straight path w has the std m = sqrt((1 - p)² std² + p²), and the flow multiplies w by m'/m: the average velocity
is w (1 - m'/m) / (p - p') = w ((p + p') (1 + std²) - 2 std²) / (m (m + m')).
"""

import jax.numpy as jnp

from gendiff import networks
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Level

FLOW, EDM = schedules.flow(), schedules.edm(0.05, 20.0)
"""The clean level of EDM has the t of its least noise, so that steps of two times end there."""
PATHS = {
    "flow": (FLOW, lambda t: Level(t, 1 - t / 1000, t / 1000)),
    "edm": (EDM, lambda t: Level(t, jnp.ones_like(t), jnp.exp(4 * t))),
}
"""Name -> a schedule, and its level by what a network is told."""


def exact(name="flow", kind=None):
    """The network whose pair is exact, under any parameterization."""
    level_of, kind = PATHS[name][1], kind or parameterization.flow()

    def network(std, x, t, *condition):
        level, end = level_of(t), level_of(condition[-1].t)
        size, p, q = (
            jnp.expand_dims(each, tuple(range(1, x.ndim)))
            for each in (level.alpha + level.sigma, position(level), position(end))
        )
        w = x / size
        spread, after = (jnp.sqrt((1 - each) ** 2 * std**2 + each**2) for each in (p, q))
        velocity = w * ((p + q) * (1 + std**2) - 2 * std**2) / (spread * (spread + after))
        return kind.target(w - p * velocity, w + (1 - p) * velocity, level)

    return network


def told_backwards(name):
    """The mistake that takes the two times for each other."""
    return lambda std, x, t, second: exact(name)(std, x, second.t, networks.EndTime(t))


def line(point, x, t, second):
    """noise - clean of the one path through x, for data at a point."""
    return (x - point) * 1000 / t[:, None]


def position(level):
    return level.sigma / (level.alpha + level.sigma)


def velocity(std, w, p):
    """Of the flow at w (b, d), p (b,)."""
    p = p[:, None]
    return w * (p * (1 + std**2) - std**2) / ((1 - p) ** 2 * std**2 + p**2)
