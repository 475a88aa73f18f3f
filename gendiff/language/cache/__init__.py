"""KV caches: keys and values of the tokens so far, in buffers of a fixed length.

With one, the network computes the keys and values of new tokens only.

Every text of a batch has a length of its own. Where a token is stored follows from its position alone, and so does what
it sees. So a cache is rewound by its length: what lies behind is empty.
"""

from gendiff.language.cache.cache import Cache, nbytes
from gendiff.language.cache.contiguous import FullLayer, full
from gendiff.language.cache.eight_bits import int8
from gendiff.language.cache.paged import PagedCache, paged
from gendiff.language.cache.ring import ring

__all__ = ["Cache", "FullLayer", "PagedCache", "full", "int8", "nbytes", "paged", "ring"]
