"""The guard against SQL that Citus refuses, on every shape it knows and on their harmless neighbours.

tests/integration/test_citus.py runs the same statements on a real coordinator.
"""

from __future__ import annotations

import pytest

from tests.citus_shapes import refused
from tests.citus_statements import ALLOWED, DEFINITIONS, SHAPES


@pytest.mark.parametrize("shape", (*SHAPES, *DEFINITIONS), ids=lambda shape: shape.statement)
def test_a_shape_is_refused_for_its_reason(shape):
    assert any(shape.reason in reason for reason in refused(shape.statement)), refused(shape.statement)


@pytest.mark.parametrize("statement", ALLOWED)
def test_its_neighbour_passes(statement):
    assert refused(statement) == []
