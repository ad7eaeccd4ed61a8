"""What nights on the live API need: what a window cost and held, works that vanished, credits spent."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add three columns to ops.batch and make two tables."""
    for name in ("source_records", "source_listed", "credits"):
        op.add_column("batch", sa.Column(name, sa.BigInteger()), schema="ops")
    op.create_table(
        "vanished",
        sa.Column("work_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("missed_on", sa.Date(), nullable=False),
        schema="ops",
    )
    op.create_table(
        "spending",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        schema="ops",
    )
