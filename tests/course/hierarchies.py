"""Memory hierarchies of machines that do not exist, for the tests of figures."""

import math

from course.memory_hierarchy import Hierarchy

CACHES = {"L1": 2**15, "L2": 2**20, "L3": 2**25}
LATENCIES = {"L1": 1.0, "L2": 4.0, "L3": 12.0, "memory": 100.0}
_SIZES = [int(2 ** (half / 2)) for half in range(24, 57)]


def _machine(nanoseconds: list[float]) -> Hierarchy:
    return Hierarchy(_SIZES, nanoseconds, [1e11 / x for x in nanoseconds], CACHES)


def _latency(size: int) -> float:
    """Steps at the sizes of CACHES, each spread over an octave."""
    latencies = list(LATENCIES.values())
    logarithm = math.log(latencies[0])
    for cache, here, next_one in zip(CACHES.values(), latencies, latencies[1:], strict=False):
        past = min(max(math.log2(size / cache) + 0.5, 0), 1)
        logarithm += past * math.log(next_one / here)
    return math.exp(logarithm)


STAIRCASE = _machine([_latency(size) for size in _SIZES])
WITHOUT_LEVELS = _machine([1.5**i for i in range(len(_SIZES))])
