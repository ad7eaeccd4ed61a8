"""What a maintainer reads when an engine refuses."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tasks.storage.engines import backend_for


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("SELECT * FROM nowhere", "mend that, then run again"),
        (
            "SELECT count(DISTINCT hash(i)) FROM range(3000000) r (i)",
            "raise COLLAB_MEMORY_LIMIT or COLLAB_REBUILD_MEMORY_LIMIT, then run again",
        ),
        ("COPY (SELECT 1) TO '/dev/full'", "free space, then run again"),
    ],
)
def test_only_what_space_mends_is_called_a_lack_of_space(statement, hint):
    url = sa.make_url("duckdb:///:memory:")
    engine = sa.create_engine(url)
    with engine.connect() as conn, pytest.raises(DBAPIError) as refused:
        conn.exec_driver_sql("SET memory_limit = '10MB'; SET temp_directory = ''")
        conn.exec_driver_sql(statement)
    error = backend_for(url).explain(refused.value, url, "written")
    assert error.message.startswith("the warehouse could not be written: ")
    assert error.hint == hint


def test_a_commit_without_memory_asks_for_memory():
    """As DuckDB put it in a verify with 5 MB."""
    cause = "TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB (4.6 MiB/4.7 MiB used)"
    url = sa.make_url("duckdb:///:memory:")
    error = backend_for(url).explain(DBAPIError("COMMIT", None, RuntimeError(cause)), url, "written")
    assert error.hint == "raise COLLAB_MEMORY_LIMIT or COLLAB_REBUILD_MEMORY_LIMIT, then run again"
