"""The commands of `gendiff`, and the experiments behind `gendiff train` and `gendiff tune`."""

from gendiff.runs.registry import Listed

EXPERIMENTS = {
    "images": Listed(
        "gendiff.commands.train",
        "What does a diffusion model learn from a folder of pictures, judged without labels?",
        typed="train",
        presets=("emoji", "textures", "own", "unet-64", "imagenet-folder-256"),
        prepare=True,
    ),
    "tune": Listed(
        "gendiff.commands.tune", "What does a language model learn from rows of your own, by an adapter?", typed="tune"
    ),
}
"""Name of each experiment whose runs the installed package trains and draws from -> where it is."""

TOOLS = {
    "chat": "gendiff.commands.chat.chat_options",
    "copies": "gendiff.commands.copies",
    "data-report": "gendiff.commands.data_report",
    "inspect": "gendiff.commands.inspect_folder",
    "plan": "gendiff.commands.plan",
    "plan --cost": "gendiff.commands.plan.cost_options",
    "quantise": "gendiff.commands.quantise_options",
    "scaling-fit": "gendiff.commands.scaling_fit.fit_options",
    "serve": "gendiff.commands.serve.serve_options",
    "serve-load": "gendiff.commands.serve.load",
    "text-to-image": "gendiff.commands.text_to_image.options",
    "verify": "gendiff.commands.verify",
    "video": "gendiff.commands.video.clip_options",
}
"""Name of each command that belongs to no experiment -> the module whose `COMMAND` it is. That module loads no JAX.

A name of two words is that of a command with a flag, which has options of its own.
"""
