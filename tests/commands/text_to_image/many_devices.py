"""What `text-to-image --mesh` draws on eight devices beside what one draws: run as a script, in a process that has
eight.
"""

import json
import sys
from types import SimpleNamespace

import jax
import numpy as np

from gendiff.commands.text_to_image import folder
from gendiff.commands.text_to_image.options import CommandOptions
from gendiff.pipelines.stable_diffusion import Opened
from gendiff.runs.progress import Progress
from tests.quickly import quickly

PICTURES = 8


def draw(model, **options):
    """{"pictures" in [0, 1], "parts": bytes of each part (in all, of its largest array, most of a device), "programs":
    bytes of a device (arguments, beside them) of each}.
    """
    parts, programs, pictures = {}, [], []
    read = Opened.part_params

    def part_params(self, name, *rest):
        params = read(self, name, *rest)
        leaves, held = jax.tree.leaves(params), {}
        for shard in (shard for leaf in leaves for shard in leaf.addressable_shards):
            held[shard.device] = held.get(shard.device, 0) + shard.data.nbytes
        parts[name] = [sum(leaf.nbytes for leaf in leaves), max(leaf.nbytes for leaf in leaves), max(held.values())]
        return params

    class Measured:
        def __init__(self, function, libraries=True):
            self.jitted, self.compiled = quickly(function), {}

        def lower(self, *arguments):
            program = self.jitted.lower(*arguments).compile()
            memory = program.memory_analysis()
            programs.append([memory.argument_size_in_bytes, memory.temp_size_in_bytes])
            return SimpleNamespace(compile=lambda: program)

        def __call__(self, *arguments):
            shapes = str(jax.tree.map(np.shape, arguments[1:]))
            if shapes not in self.compiled:
                self.compiled[shapes] = self.lower(*arguments).compile()
            return self.compiled[shapes](*arguments)

    before = folder.devices.jit, folder.drawing.write
    Opened.part_params, folder.devices.jit = part_params, Measured
    folder.drawing.write = lambda images, *rest: pictures.append(np.clip(images / 2 + 0.5, 0, 1))
    try:
        settings = {"prompt": "red cat", "num": PICTURES, "steps": 2, "height": 16, "width": 16} | options
        folder.draw(CommandOptions(**settings, compile_cache="none", out=f"{model}.png"), model, Progress(quiet=True))
    finally:
        Opened.part_params = read
        folder.devices.jit, folder.drawing.write = before
    return {"pictures": pictures[0], "parts": parts, "programs": programs}


def main(model, options, *meshes):
    """Prints a line of JSON for each mesh, with the largest difference of pictures in place of them. options: JSON."""
    settings = json.loads(options)
    alone = draw(model, together=PICTURES, **settings)
    assert jax.device_count() == 8 and alone["pictures"].std() > 0.1
    for mesh in meshes:
        result = draw(model, mesh=mesh, **settings)
        difference = float(np.abs(result.pop("pictures") - alone["pictures"]).max())
        print(json.dumps(result | {"mesh": mesh, "difference": difference, "alone": alone["programs"][-1]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
