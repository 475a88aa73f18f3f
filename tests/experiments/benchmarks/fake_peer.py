"""A peer without torch: doubles the numbers that it is given, in as long as it is told."""

import sys
import time
from typing import Any

import numpy as np

from experiments.benchmarks import protocol

HELD: dict[str, Any] = {}


def prepare(workload: dict[str, Any], arrays: str, weights: str = "") -> dict[str, Any]:
    print("a library that talks")  # must not be taken for an answer
    with np.load(arrays) as stored:
        HELD.update(x=stored["x"], workload=workload)
    return {"parameters": 0}


def run(mode: str, repeats: int = 1) -> float:
    if mode == "broken":
        raise ValueError("no such mode")
    if mode == "dies":
        sys.exit("gone")
    begin = time.perf_counter()
    time.sleep(0.002 * repeats)
    return time.perf_counter() - begin


def output(mode: str, to: str) -> None:
    np.savez(to, output=2 * HELD["x"])


if __name__ == "__main__":
    protocol.serve({"prepare": prepare, "run": run, "output": output, "spin": lambda: sum(range(10**7)) and True})
