"""A local replay of the OpenAlex API, for tests: 1.1 to 1.8 and 9 of the sources sheet, over plain HTTP."""

from tests.replay.faults import ALL_KINDS, Faults
from tests.replay.server import KEY, Call, ReplayServer

__all__ = ["ALL_KINDS", "KEY", "Call", "Faults", "ReplayServer"]
