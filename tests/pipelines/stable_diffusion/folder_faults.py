"""Faults of a folder of diffusers, each a function of the folder."""

import json

import safetensors.numpy

from gendiff.weights import files

STEM = files.STEM


def changed(part, file="config.json", **changes):
    """Settings of a part replaced; `...` removes one."""

    def change(folder):
        path = folder / part / file
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))

    return change


def arrays(part, stem, change):
    """Weights of a part replaced by a function of them."""

    def write(folder):
        path = folder / part / f"{stem}.safetensors"
        safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)

    return write


def text(path, content):
    return lambda folder: (folder / path).write_text(content)


def without(name):
    return lambda values: {key: value for key, value in values.items() if key != name}


def cut(path):
    def shorten(folder):
        file = folder / path
        file.write_bytes(file.read_bytes()[:-9])

    return shorten
