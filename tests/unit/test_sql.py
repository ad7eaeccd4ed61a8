"""SQL goes through SQLAlchemy: text of SQL is only where it is listed here, with the reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("schemas", "tasks", "flows")
    for path in (ROOT / package).rglob("*.py")
)
REASONS = {
    "tasks/loading/duplicates.py": "names a column of a subquery",
    "tasks/storage/engines/citus.py": "functions of Citus, their arguments bound",
    "tasks/storage/engines/duckdb.py": "COPY ... TO takes no parameters: its query is compiled by SQLAlchemy, the path"
    " is ours; SQLAlchemy has no MERGE: names are those of our tables",
    "tasks/storage/engines/postgresql.py": "roles, grants and ANALYZE take no parameters; the names are our tables",
    "tasks/loading/source_days.py": "the day that a source told of is worded once, in schemas/indices/time.py",
    "tasks/storage/layout.py": "views: their text is declared in schemas/indices/*.py",
    "tasks/releases/publish.py": "builds the DuckDB file of a release from our own names; values are bound",
    "tasks/releases/release.py": "a function of DuckDB, without arguments",
    "tasks/storage/warehouse.py": "CREATE TEMPORARY TABLE ... AS, compiled by SQLAlchemy; DROP TABLE of quoted names",
}
OLD_VERSIONS = "tasks/upkeep/migrations/versions/"  # what a warehouse of a version was like: names and constants


def raw_sql(tree: ast.AST) -> Iterator[str]:
    """Calls that hand text of SQL to a database, or make a clause of it."""
    from_sqlalchemy = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        owner = called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
        is_clause = name in ("text", "literal_column", "DDL") and (
            owner in ("sa", "sqlalchemy") or (not owner and name in from_sqlalchemy)
        )
        first = node.args[0] if node.args else None
        is_text = isinstance(first, (ast.JoinedStr, ast.BinOp)) or (
            isinstance(first, ast.Constant) and isinstance(first.value, str)
        )
        is_statement = name in ("execute", "executemany", "executescript", "sql") and is_text
        if is_clause or is_statement or name == "exec_driver_sql":
            yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("path", MODULES)
def test_text_of_sql_is_only_where_it_is_listed(path):
    found = list(raw_sql(ast.parse((ROOT / path).read_text())))
    if path.startswith(OLD_VERSIONS):
        return
    if path in REASONS:
        assert found, f"{path} hands over no text of SQL any more: take it from the list"
    else:
        assert found == [], f"{path}: use SQLAlchemy, or list it with the reason"


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("import sqlalchemy as sa\nconn.execute(sa.text(f'SELECT {x}'))", 1),
        ("from sqlalchemy import text as t, text\ntext('x')", 1),
        ("conn.exec_driver_sql(statement)", 1),
        ("cursor.execute('SELECT ' + x)", 1),
        ("duckdb.sql(f'FROM {x}')", 1),
        ("import sqlalchemy as sa\nconn.execute(sa.select(table))", 0),
        ("from pathlib import Path\npath.text('x')\nconn.execute(query)", 0),
    ],
)
def test_text_of_sql_is_found(code, calls):
    assert len(list(raw_sql(ast.parse(code)))) == calls
