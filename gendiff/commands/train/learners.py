"""Which of the two trainings of `train` a configuration asks for: a network of pixels, or a change of a model in a folder."""

from gendiff.commands.train import defaults, fine_tuning, judge, plan, train
from gendiff.commands.train.config import Config
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.run_folder import RunFolder


def of_model(config: Config) -> bool:
    """Whether it is a change of a model."""
    return config.model is not None or config.lora is not None


def check_config(config: Config) -> None:
    """ConfigError or DataError before anything is computed, as `defaults.check` and `options.check` raise them."""
    (fine_tuning.options.check if of_model(config) else defaults.check)(config)


def train_config(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Trains what the configuration asks for."""
    (fine_tuning.train.train if of_model(config) else train.train)(config, folder, progress)


def evaluate_config(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Judges what was trained."""
    return (fine_tuning.judge.evaluate if of_model(config) else judge.evaluate)(config, folder, progress)


def plan_config(config: Config, progress: Progress) -> None:
    """Says what a run would do."""
    (fine_tuning.jobs.dry_run if of_model(config) else plan.dry_run)(config, progress)
