"""A cold process of ours on its way to a first image.

python -m experiments.benchmarks.first_image INPUTS.npz STEPS NETWORK WEIGHTS OUT.npz
"""

import os
import sys

from experiments.benchmarks import protocol, workloads

protocol.limit_cores(int(os.environ.get("BENCH_THREADS", "0")))


def main(arrays: str, steps: str, network: str, weights: str, out: str) -> None:
    import jax
    import numpy as np

    from experiments.benchmarks import networks, ours_work
    from experiments.framework import devices

    devices.use_compile_cache()
    workload = workloads.Workload("sample", network, batch=1, steps=int(steps))
    module = networks.build(workload, weights)
    params = jax.tree.map(jax.numpy.asarray, networks.parameters(workload, module, weights))
    with np.load(arrays) as stored:
        image = ours_work.sampler(workload, module, params, {"start": jax.device_put(stored["start"])})()
    np.savez(out, output=np.asarray(image))
    protocol.serve({"first": lambda: True})


if __name__ == "__main__":
    main(*sys.argv[1:])
