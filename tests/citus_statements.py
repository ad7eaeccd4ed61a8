"""Statements that Citus refuses, or that only part of our engines understand, and their harmless neighbours.

The guard (tests/citus_shapes.py) is held to them by tests/unit/test_citus_shapes.py, a real coordinator by
tests/integration/test_citus.py.
"""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """A statement that the guard refuses."""

    statement: str
    reason: str
    """Part of what the guard says."""
    stricter: str = ""
    """Why the guard refuses what Citus takes; empty where Citus refuses it too."""


# `touched` (work_id, doi, v) is a temporary table.
COSTLY = "Citus takes it by shipping one side whole through the coordinator"
NO_SAVEPOINT = "DuckDB has no savepoints"
NO_CTE = "DuckDB has no changes in a CTE"
NO_KEYS = "the order of loading would matter, and Citus takes it only beside the distribution column or a copy"
SINGLE = "Citus takes it where one shard is named; we lock with an advisory lock"
SHAPES = (
    Shape(
        "SELECT count(*) FROM core.work JOIN core.reference ON core.work.work_id = core.reference.cited_work_id",
        "join of distributed",
    ),
    Shape("SELECT count(*) FROM core.work, core.work_field", "join of distributed"),
    Shape(
        "SELECT count(*) FROM core.work JOIN core.work_field ON core.work.work_id < core.work_field.work_id",
        "join of distributed",
    ),
    Shape(
        "SELECT count(*) FROM core.work AS a JOIN core.reference AS r ON r.citing_work_id = a.work_id"
        " JOIN core.work AS b ON r.cited_work_id = b.work_id",
        "join of distributed",
    ),
    Shape(
        "SELECT count(*) FROM core.work AS a JOIN core.work_field AS b ON a.work_id = b.work_id OR a.doi = b.field",
        "join of distributed",
    ),
    Shape(
        "SELECT count(*) FROM core.work LEFT JOIN core.reference ON core.work.work_id = core.reference.cited_work_id",
        "join of distributed",
    ),
    Shape(
        "SELECT count(*) FROM core.work FULL JOIN core.reference ON core.work.work_id = core.reference.cited_work_id",
        "join of distributed",
    ),
    Shape(
        "DELETE FROM core.work USING core.reference WHERE core.reference.cited_work_id = core.work.work_id",
        "join of distributed",
    ),
    Shape(
        "UPDATE core.work SET title = 'x' FROM core.reference WHERE core.reference.cited_work_id = core.work.work_id",
        "join of distributed",
    ),
    Shape(
        "INSERT INTO touched (work_id) SELECT core.work.work_id FROM core.work"
        " JOIN core.reference ON core.work.work_id = core.reference.cited_work_id",
        "join of distributed",
    ),
    Shape(
        "CREATE TEMPORARY TABLE made AS SELECT core.work.work_id FROM core.work"
        " JOIN core.reference ON core.work.work_id = core.reference.cited_work_id",
        "join of distributed",
    ),
    Shape(
        "SELECT count(*) FROM (SELECT core.work.work_id AS id, core.work.year FROM core.work) AS a"
        " JOIN (SELECT w.year FROM core.work AS w) AS b ON a.year = b.year",
        "join of distributed",
        COSTLY,
    ),
    Shape(
        "WITH a AS (SELECT core.work.year FROM core.work)"
        " SELECT count(*) FROM a JOIN core.work ON a.year = core.work.year",
        "join of distributed",
        COSTLY,
    ),
    Shape(
        "SELECT count(*) FROM core.work LEFT JOIN (SELECT core.work_field.field FROM core.work_field) AS a"
        " ON a.field = core.work.doi",
        "join of distributed",
        COSTLY,
    ),
    Shape(
        "SELECT count(*) FROM core.work WHERE EXISTS"
        " (SELECT 1 FROM core.reference WHERE core.reference.cited_work_id = core.work.work_id)",
        "off the distribution column",
    ),
    Shape(
        "SELECT count(*) FROM core.work WHERE NOT EXISTS"
        " (SELECT 1 FROM core.reference WHERE core.reference.cited_work_id = core.work.work_id)",
        "off the distribution column",
    ),
    Shape(
        "DELETE FROM core.work WHERE NOT EXISTS"
        " (SELECT 1 FROM core.reference WHERE core.reference.cited_work_id = core.work.work_id)",
        "off the distribution column",
    ),
    Shape(
        "SELECT core.work.work_id, (SELECT count(*) FROM core.reference"
        " WHERE core.work.work_id = core.reference.cited_work_id) FROM core.work",
        "off the distribution column",
    ),
    Shape(
        "SELECT count(*) FROM core.work JOIN LATERAL (SELECT core.reference.cited_work_id FROM core.reference"
        " WHERE core.reference.cited_work_id = core.work.work_id) AS n ON true",
        "distribution column",
    ),
    Shape(
        "SELECT count(*) FROM core.work WHERE EXISTS (SELECT 1 FROM touched WHERE touched.work_id = core.work.work_id)",
        "correlated between",
    ),
    Shape(
        "SELECT count(*) FROM touched WHERE NOT EXISTS"
        " (SELECT 1 FROM core.work WHERE core.work.work_id = touched.work_id)",
        "correlated between",
    ),
    Shape(
        "DELETE FROM core.work WHERE EXISTS (SELECT 1 FROM touched WHERE touched.work_id = core.work.work_id)",
        "correlated between",
    ),
    Shape(
        "DELETE FROM touched WHERE EXISTS (SELECT 1 FROM core.work WHERE touched.work_id = core.work.work_id)",
        "correlated between",
    ),
    Shape(
        "SELECT count(*) FROM mart.world_year WHERE EXISTS"
        " (SELECT 1 FROM core.work WHERE core.work.year = mart.world_year.year)",
        "correlated between",
    ),
    Shape(
        "SELECT touched.work_id, (SELECT count(*) FROM core.work WHERE core.work.work_id = touched.work_id)"
        " FROM touched",
        "correlated between",
    ),
    Shape(
        "SELECT count(*) FROM touched WHERE touched.work_id IN"
        " (SELECT core.work.work_id FROM core.work WHERE core.work.doi = touched.doi)",
        "correlated between",
    ),
    Shape(
        "SELECT n.n FROM core.work,"
        " LATERAL (SELECT count(*) AS n FROM touched WHERE touched.work_id = core.work.work_id) AS n",
        "correlated between",
    ),
    Shape(
        "SELECT count(*) FROM core.institution WHERE EXISTS"
        " (SELECT 1 FROM core.affiliation"
        " WHERE core.affiliation.institution_id = core.institution.institution_id)",
        "correlated with a reference table",
    ),
    Shape(
        "DELETE FROM core.institution USING touched WHERE core.institution.institution_id = touched.work_id",
        "change of a reference table",
    ),
    Shape(
        "UPDATE core.institution SET name = 'x' FROM touched WHERE core.institution.institution_id = touched.work_id",
        "change of a reference table",
    ),
    Shape(
        "DELETE FROM core.institution WHERE EXISTS"
        " (SELECT 1 FROM touched WHERE core.institution.institution_id = touched.work_id)",
        "change of a reference table",
    ),
    Shape("UPDATE core.work SET work_id = 5", "change of the distribution column"),
    Shape("UPDATE core.reference AS r SET citing_work_id = 5 WHERE r.cited_work_id = 1", "of the distribution column"),
    Shape(
        "INSERT INTO core.work_field (work_id, field, rule) VALUES (1, 'b', 'c')"
        " ON CONFLICT (work_id, field) DO UPDATE SET work_id = 6",
        "change of the distribution column",
    ),
    Shape(
        "UPDATE core.work SET work_id = core.work.work_id",
        "change of the distribution column",
        "Citus sees that the value stays",
    ),
    Shape(
        "SELECT core.work.year, count(*) FROM core.work GROUP BY GROUPING SETS ((core.work.year), ())", "GROUPING SETS"
    ),
    Shape("SELECT core.work.year, count(*) FROM core.work GROUP BY ROLLUP (core.work.year)", "ROLLUP"),
    Shape("SELECT core.work.year, count(*) FROM core.work GROUP BY CUBE (core.work.year)", "CUBE"),
    Shape(
        "WITH RECURSIVE cited AS (SELECT core.reference.cited_work_id AS id FROM core.reference"
        " WHERE core.reference.citing_work_id = 1 UNION SELECT core.reference.cited_work_id FROM core.reference"
        " JOIN cited ON cited.id = core.reference.citing_work_id) SELECT cited.id FROM cited",
        "recursive CTE",
    ),
    Shape("SELECT core.work.work_id FROM core.work FOR UPDATE", "FOR UPDATE"),
    Shape("SELECT core.work.work_id FROM core.work FOR SHARE", "FOR SHARE"),
    Shape("SELECT core.work.work_id FROM core.work WHERE core.work.work_id = 1 FOR UPDATE", "FOR UPDATE", SINGLE),
    Shape(
        "WITH gone AS (DELETE FROM core.work RETURNING core.work.work_id) SELECT count(*) FROM gone", "in a CTE", NO_CTE
    ),
    Shape("WITH gone AS (DELETE FROM touched RETURNING work_id) SELECT count(*) FROM gone", "in a CTE", NO_CTE),
    Shape("SAVEPOINT here", "SAVEPOINT", NO_SAVEPOINT),
    Shape(
        "INSERT INTO core.work_field (work_id, field, rule) VALUES (1, (SELECT max(touched.doi) FROM touched), 'c')",
        "INSERT VALUES",
    ),
    Shape("INSERT INTO ops.meta (name, value) VALUES ('a', (SELECT max(core.work.doi) FROM core.work))", "INSERT VAL"),
    Shape(
        "MERGE INTO core.work USING touched ON touched.work_id = core.work.work_id WHEN MATCHED THEN DELETE", "MERGE"
    ),
    Shape(
        "MERGE INTO touched USING core.work ON touched.work_id = core.work.work_id WHEN MATCHED THEN DELETE", "MERGE"
    ),
    Shape("CREATE UNIQUE INDEX x ON core.work (doi)", "without work_id"),
    Shape("CREATE UNIQUE INDEX work_id ON core.work (doi)", "without work_id"),
    Shape("ALTER TABLE core.work ADD CONSTRAINT x UNIQUE (doi)", "without work_id"),
    Shape("ALTER TABLE ops.seen ADD CONSTRAINT x UNIQUE (tie_hash)", "without work_id"),
    Shape("ALTER TABLE core.reference ADD CONSTRAINT x FOREIGN KEY (cited_work_id) REFERENCES core.work", "foreign"),
    Shape(
        "ALTER TABLE core.work_field ADD CONSTRAINT x FOREIGN KEY (work_id) REFERENCES core.work (work_id)",
        "foreign key",
        NO_KEYS,
    ),
    Shape(
        "ALTER TABLE ops.part ADD CONSTRAINT x FOREIGN KEY (batch_id) REFERENCES ops.batch (batch_id)",
        "foreign key",
        NO_KEYS,
    ),
)
# Tables that the warehouse holds already: nothing to run on Citus, which refuses them when they are distributed.
DEFINITIONS = (
    Shape("CREATE TABLE core.work (work_id BIGINT, doi VARCHAR, CONSTRAINT k PRIMARY KEY (doi))", "without work_id"),
    Shape("CREATE TABLE core.work (work_id BIGINT, doi VARCHAR UNIQUE)", "without work_id"),
    Shape("CREATE TABLE core.work (work_id BIGINT, doi VARCHAR PRIMARY KEY)", "without work_id"),
    Shape("CREATE TABLE core.work (work_id BIGINT, doi VARCHAR, UNIQUE (doi))", "without work_id"),
    Shape("CREATE TABLE core.work_field (work_id BIGINT REFERENCES core.work (work_id))", "foreign key"),
    Shape("VACUUM (FULL, VERBOSE) core.work OR SOMETHING", "cannot be read"),
)
ALLOWED = (
    "SELECT count(*) FROM core.work JOIN core.reference ON core.work.work_id = core.reference.citing_work_id",
    "SELECT count(*) FROM core.work JOIN core.work_field USING (work_id)",
    "SELECT count(*) FROM core.work, core.work_field WHERE core.work.work_id = core.work_field.work_id",
    "SELECT count(*) FROM core.work LEFT JOIN core.work_field ON core.work.work_id = core.work_field.work_id",
    "SELECT count(*) FROM core.work FULL JOIN core.work_field ON core.work.work_id = core.work_field.work_id",
    "SELECT count(*) FROM core.work AS a JOIN core.work AS b ON a.work_id = b.work_id"
    " JOIN core.reference AS r ON r.citing_work_id = b.work_id",
    "SELECT count(*) FROM core.work AS a JOIN touched ON touched.work_id = a.work_id"
    " JOIN core.work AS b ON touched.work_id = b.work_id",
    "SELECT count(*) FROM core.work JOIN touched ON touched.doi = core.work.doi",
    "SELECT count(*) FROM core.work LEFT JOIN touched ON touched.work_id = core.work.work_id",
    "SELECT count(*) FROM touched LEFT JOIN core.work ON touched.work_id = core.work.work_id",
    "SELECT count(*) FROM mart.world_year JOIN core.work ON core.work.year = mart.world_year.year",
    "SELECT count(*) FROM ops.quarantine JOIN ops.seen ON ops.quarantine.work_id = ops.seen.work_id",
    "SELECT count(*) FROM core.affiliation JOIN core.institution"
    " ON core.affiliation.institution_id = core.institution.institution_id",
    "SELECT count(*) FROM touched LEFT JOIN core.institution ON touched.work_id = core.institution.institution_id",
    "SELECT count(*) FROM (SELECT core.work.work_id AS id FROM core.work) AS a"
    " JOIN (SELECT core.work_field.work_id FROM core.work_field) AS b ON a.id = b.work_id",
    "SELECT count(*) FROM core.work JOIN (SELECT core.work_field.work_id, count(*) AS n FROM core.work_field"
    " GROUP BY core.work_field.work_id) AS a ON a.work_id = core.work.work_id",
    "SELECT count(*) FROM core.work JOIN (SELECT core.work_field.work_id FROM core.work_field"
    " UNION ALL SELECT core.work_policy.work_id FROM core.work_policy) AS a ON a.work_id = core.work.work_id",
    "SELECT count(*) FROM core.work WHERE NOT EXISTS"
    " (SELECT 1 FROM core.reference WHERE core.reference.citing_work_id = core.work.work_id)",
    "SELECT count(*) FROM core.affiliation WHERE EXISTS (SELECT 1 FROM core.institution"
    " WHERE core.affiliation.institution_id = core.institution.institution_id)",
    "SELECT count(*) FROM core.institution WHERE EXISTS"
    " (SELECT 1 FROM touched WHERE core.institution.institution_id = touched.work_id)",
    "SELECT count(*) FROM core.work JOIN touched ON touched.work_id = core.work.work_id WHERE EXISTS"
    " (SELECT 1 FROM core.work_field WHERE core.work_field.work_id = core.work.work_id)",
    "SELECT count(*) FROM core.work WHERE core.work.doi NOT IN (SELECT touched.doi FROM touched)",
    "SELECT count(*) FROM touched WHERE touched.work_id IN (SELECT core.work.work_id FROM core.work)",
    "SELECT count(*) FROM core.work WHERE core.work.work_id IN"
    " (SELECT core.reference.cited_work_id FROM core.reference)",
    "SELECT count(*) FROM mart.world_year WHERE EXISTS"
    " (SELECT 1 FROM mart.country_year WHERE mart.country_year.year = mart.world_year.year)",
    "SELECT count(*) FROM core.work WHERE core.work.work_id IN (SELECT touched.work_id FROM touched"
    " WHERE touched.work_id IN (SELECT core.work.work_id FROM core.work))",
    "DELETE FROM core.work WHERE core.work.work_id IN (SELECT touched.work_id FROM touched)",
    "DELETE FROM core.work USING touched WHERE touched.work_id = core.work.work_id",
    "DELETE FROM core.institution WHERE core.institution.institution_id IN (SELECT touched.work_id FROM touched)",
    "UPDATE core.work SET title = touched.doi FROM touched WHERE touched.work_id = core.work.work_id",
    "UPDATE core.reference SET cited_work_id = 5 WHERE core.reference.citing_work_id = -1",
    "UPDATE touched SET v = core.work.year FROM core.work WHERE core.work.work_id = touched.work_id",
    "INSERT INTO core.work_field (work_id, field, rule) SELECT touched.work_id, 'z', 'z' FROM touched",
    "INSERT INTO core.work_field (work_id, field, rule) VALUES (1, 'b', 'c')"
    " ON CONFLICT (work_id, field) DO UPDATE SET rule = excluded.rule",
    "INSERT INTO ops.meta (name, value) VALUES ('a', (SELECT max(touched.doi) FROM touched))",
    "SELECT touched.v, count(*) FROM touched GROUP BY ROLLUP (touched.v)",
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT n.i + 1 FROM n WHERE n.i < 5) SELECT n.i FROM n",
    "SELECT ops.meta.name FROM ops.meta FOR UPDATE",
    "CREATE UNIQUE INDEX x ON core.work (doi, work_id)",
    "CREATE INDEX x ON core.work (title)",
    "CREATE UNIQUE INDEX x ON ops.part (path, sha256)",
    "ALTER TABLE core.work ADD CONSTRAINT x UNIQUE (doi, work_id)",
    "CREATE TEMPORARY TABLE made AS SELECT core.work.work_id FROM core.work"
    " WHERE core.work.work_id IN (SELECT touched.work_id FROM touched)",
    "CREATE TEMPORARY TABLE made (work_id BIGINT) ON COMMIT DROP",
    "TRUNCATE core.work_field",
)
