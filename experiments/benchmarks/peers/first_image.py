"""A cold process of the peer on its way to a first image: torch, eager.

python -m experiments.benchmarks.peers.first_image INPUTS.npz STEPS WEIGHTS OUT.npz
"""

import os
import sys

from experiments.benchmarks import protocol

protocol.limit_cores(int(os.environ.get("BENCH_THREADS", "0")))


def main(arrays: str, steps: str, weights: str, out: str) -> None:
    import numpy as np
    import torch
    from diffusers import DDIMScheduler, UNet2DModel

    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "0")) or torch.get_num_threads())
    network = UNet2DModel.from_pretrained(weights, low_cpu_mem_usage=False).eval()
    scheduler = DDIMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False)
    scheduler.set_timesteps(int(steps))
    with np.load(arrays) as stored, torch.inference_mode():
        x = torch.from_numpy(stored["start"]).permute(0, 3, 1, 2)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
    np.savez(out, output=x.permute(0, 2, 3, 1).numpy())
    protocol.serve({"first": lambda: True})


if __name__ == "__main__":
    main(*sys.argv[1:])
