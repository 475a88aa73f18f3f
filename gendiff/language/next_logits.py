"""Network + parameters -> NextLogits, the waist between language models and everything that decodes."""

from typing import Any

from jaxtyping import Array, Float, Int

from gendiff.core import records
from gendiff.core.types import ArrayLike, Params


@records.record
class NextLogits:
    """A language model with its parameters. They are leaves; the function is static.

    Args:
        predict: the network, (params, tokens, cache, every) -> (logits, cache), behind which more may stand.
        params: its parameters.
    """

    predict: Any = records.static()
    params: Params = None

    def __call__(
        self, tokens: Int[ArrayLike, "b s"], cache: Any, every: bool = False
    ) -> tuple[Float[Array, "b *s v"], Any]:
        """Put tokens behind those of the cache.

        Args:
            tokens: (b, s) ids, behind which −1 may stand for none.
            cache: the tokens before these, as `cache` builds it.
            every: True gives the logits after each token (b, s, v), False those after the last one of each text (b, v).
        """
        logits, cache = self.predict(self.params, tokens, cache, every)[:2]
        return logits, cache


def from_network(predict: Any, params: Params) -> NextLogits:
    """A network as NextLogits.

    Args:
        predict: (params, tokens, cache, every) -> (logits, cache), such as `networks.pure(networks.LanguageModel(…))`.
        params: its parameters.
    """
    return NextLogits(predict, params)
