"""A peer without torch: doubles the numbers that it is given, in as long as it is told."""

import os
import sys
import time
from typing import Any

import numpy as np

from experiments.benchmarks.side_process import Side


class FakePeer(Side):
    def prepare(self, workload: dict[str, Any], arrays: str, weights: str = "") -> None:
        print("a library that talks")  # must not be taken for an answer
        with np.load(arrays) as stored:
            doubled = 2 * stored["x"]
        self.work["eager"] = lambda: time.sleep(0.002) or doubled
        self.work["dies"] = lambda: sys.exit("gone")

    def spin(self) -> int:
        return sum(range(10**7))

    def cores(self) -> int:
        return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    FakePeer().serve()
