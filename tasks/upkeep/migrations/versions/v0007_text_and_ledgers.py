"""What servers keep beside the rows: text is ordered by its bytes, ledgers are found by their batch.

Text followed the collation of the database until here. A pair of territories or building blocks is stored once, the
smaller end first; where the database put the ends the other way round, tasks/upkeep/migrate.py counts the table anew.
The keys of the ledgers took as much room as their rows; nothing is looked up by them.
"""

from alembic import op

from tasks.storage.engines import backend_of

revision = "0007"
down_revision = "0006"

COUNTED = "world_year country_year pair_year coverage_year bloc_year bloc_pair_year sector_year sector_pair_year"
CITED = "flow_year mention_year mention_pair_year"


def upgrade() -> None:
    """Change the collation of every text column, and the indexes of the ledgers."""
    backend = backend_of(op.get_bind())
    backend.order_by_bytes(op.get_bind())
    if not backend.keeps_indexes:
        return
    for mart in (*COUNTED.split(), *CITED.split()):
        op.execute(f"ALTER TABLE ops.{mart}_change DROP CONSTRAINT IF EXISTS {mart}_change_pkey")
        op.create_index(f"{mart}_change_batch_id", f"{mart}_change", ["batch_id"], schema="ops")
