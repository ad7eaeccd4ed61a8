"""The weekly proof, as a Prefect flow: every table counted again beside the live one, the ledger summed."""

from __future__ import annotations

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import runtime
from prefect.artifacts import create_table_artifact

from flows.orchestration.deployed import load_settings
from flows.orchestration.prefect_flow import collab_flow
from flows.orchestration.prefect_steps import as_task
from tasks.loading import verify as tables
from tasks.loading.ledger import WAREHOUSE
from tasks.loading.verify import Finding
from tasks.storage.warehouse import Warehouse
from tasks.upkeep.runs import Begun, recorded_alone


@collab_flow("verify")
def verify() -> str:
    """Prove that the tables equal their rebuild and the sum of the ledger. Changes nothing; red on any difference."""
    settings = load_settings()
    begun = Begun("verify", WAREHOUSE, "collab verify", str(runtime.flow_run.id))
    with (
        Warehouse.open(settings, create=False, reads_all=True) as warehouse,
        recorded_alone(warehouse, settings, begun),
    ):
        return as_task("verify", "", _verify, warehouse)


def _verify(warehouse: Warehouse) -> str:
    with warehouse.reading() as conn:
        findings = tables.verify(conn)
    _show(findings)
    tables.refuse_differences(findings)
    return f"{len(findings)} checks, no differences"


def _show(findings: list[Finding]) -> None:
    wrong_first = sorted(findings, key=lambda finding: not finding.differences)
    rows = [{**finding._asdict(), "result": "DIFFERS" if finding.differences else "equal"} for finding in wrong_first]
    create_table_artifact(rows, key="verification", description="what was compared, and what differs; wrong ones first")
