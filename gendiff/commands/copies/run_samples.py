"""The samples of a run: those that `sample RUN` left, or fresh ones."""

from gendiff.commands.copies.copies_options import DRAWN, CopiesOptions
from gendiff.commands.images.sampling_options import SampleOptions
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.runs import compile_cache, configuration, registry, run_folder
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue


def folder_of(options: CopiesOptions, catalogue: Catalogue, progress: Progress) -> str:
    """The folder of samples. Fresh ones go where `sample RUN` puts them. ConfigError where a sample needs more words
    than a number.
    """
    folder = run_folder.existing(foreign_files.expanded(options.samples))
    samples = folder.path / "samples"
    if options.num is None and any(samples.glob("*.png")):
        progress.line(f"taking the samples in {samples}; --num N draws more")
        return str(samples)
    stored = configuration.read(folder)
    experiment = registry.load(stored.experiment, catalogue)
    command = experiment.sample
    if command is None or not issubclass(command.options, SampleOptions):
        raise ConfigError(
            f"{options.samples} is a run of {stored.experiment}: draw its samples yourself, and give their folder"
        )
    run_folder.existing(folder.path, writable=True)
    compile_cache.use(say=progress.line)
    chosen = command.options(num=options.num or DRAWN)
    config = configuration.restore(stored, experiment.config, folder)
    try:
        command.call(config, folder, chosen, progress)
    except ConfigError as error:
        raise ConfigError(
            f"{error}\nthese are options of `sample {options.samples}`: draw with it, and give copies the folder of "
            "its samples in place of the run"
        ) from error
    return str(samples)
