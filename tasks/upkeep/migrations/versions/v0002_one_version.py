"""The version is noted where Alembic notes it, and nowhere else."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Drop the first release's note of the version."""
    op.execute("DELETE FROM ops.meta WHERE name = 'warehouse_version'")
