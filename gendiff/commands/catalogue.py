"""The commands of `gendiff`, and the experiment behind `gendiff train`."""

EXPERIMENTS = {"images": "gendiff.commands.train"}
"""Name of each experiment whose runs the installed package trains and draws from -> the module whose `EXPERIMENT` it
is.
"""

TOOLS = {
    "chat": "gendiff.commands.chat.command",
    "copies": "gendiff.commands.copies",
    "data-report": "gendiff.commands.data_report",
    "inspect": "gendiff.commands.inspect_folder",
    "plan": "gendiff.commands.plan",
    "plan --cost": "gendiff.commands.plan.break_even",
    "quantise": "gendiff.commands.quantise_model",
    "scaling-fit": "gendiff.commands.scaling_fit.command",
    "serve": "gendiff.commands.serve.command",
    "serve-load": "gendiff.commands.serve.load",
    "text-to-image": "gendiff.commands.text_to_image.command",
    "verify": "gendiff.commands.verify",
    "video": "gendiff.commands.video.draw",
}
"""Name of each command that belongs to no experiment -> the module whose `COMMAND` it is.

A name of two words is that of a command with a flag, which has options of its own.
"""
