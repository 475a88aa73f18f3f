"""A trained network of the text-to-image experiment with all that drawing from it needs, wherever it was kept."""

import dataclasses
from typing import Any

from experiments.diffusion.image_model import Model
from experiments.diffusion.text_to_image import networks, texts
from experiments.diffusion.text_to_image.config import Config
from experiments.framework.run_folder import RunFolder
from gendiff import networks as library
from gendiff.core.types import Params
from gendiff.diffusion.sampling import Sampler
from gendiff.pipelines import TextToImage


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """One network. config, name: which of the experiment's it is. params: {"text", "network"}, as `TextToImage` takes them."""

    config: Config
    name: str
    params: dict[str, Params]

    @property
    def model(self) -> Model:
        """The network without its parameters."""
        return networks.model(self.config, self.name)

    def pipeline(self, sampler: Sampler) -> TextToImage:
        """From prompts to pictures."""
        model, predict = self.model, self.model.predict
        if isinstance(predict, networks.WithEncoder):
            return TextToImage(predict.encode, predict.predict, model.parameterization, sampler, model.shape)
        return TextToImage(library.pure(texts.ENCODER), predict, model.parameterization, sampler, model.shape)


def from_run(config: Config, folder: RunFolder, name: str, seed: int) -> Trained:
    """The averaged parameters of a run's network. Raises as `training_loop.restore_ema` does."""
    restored: Any = networks.restore(config, folder, name, seed)
    return Trained(config, name, restored if name == networks.SCRATCH else {"text": texts.params(), "network": restored})
