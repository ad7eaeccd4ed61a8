"""What the process that workers are forked from imports. They share what is read here: each would otherwise take 40 MB
and half a second of its own to read the gazetteer.
"""

import gc

import pandas  # noqa: F401 (pyarrow imports it at its first array)

from schemas.fields import load_definitions
from schemas.mentions import load_mentions
from tasks.memory import ALLOCATIONS
from tasks.staging.derive import locator

load_definitions()
load_mentions()
locator(None).locate_string("Collab Atlas, Berlin, Germany")
gc.collect()
gc.set_threshold(ALLOCATIONS)
gc.freeze()  # a worker's collections would write to all these pages, and then they are its own
