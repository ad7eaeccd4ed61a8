"""What each run did, batches that were undone with the versions they had brought, and releases withdrawn with them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make two tables, add columns that stay empty for what is older."""
    op.create_table(
        "run",
        *_needed("run_id", "flow", "source", "command", "host", "folder"),
        sa.Column("flow_run", sa.String()),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime()),
        *_needed("state"),
        sa.Column("step", sa.String()),
        sa.Column("message", sa.Text()),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="run_pkey"),
        schema="ops",
    )
    key = ("work_id", "source_updated_at", "tie_hash")
    op.create_table(
        "blocked",
        sa.Column("work_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("source_updated_at", sa.DateTime(), nullable=False),
        sa.Column("tie_hash", sa.BigInteger(), nullable=False, autoincrement=False),
        *_needed("batch_id"),
        sa.PrimaryKeyConstraint(*key, name="blocked_pkey"),
        schema="ops",
    )
    for table, name, type_ in (
        ("batch", "run_id", sa.String()),
        ("batch", "undone_at", sa.DateTime()),
        ("release", "withdrawn_at", sa.DateTime()),
    ):
        op.add_column(table, sa.Column(name, type_), schema="ops")


def _needed(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]
