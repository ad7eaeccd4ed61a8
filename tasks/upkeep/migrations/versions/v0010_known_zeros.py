"""The views `flow_rates`, `country_growth` and `pair_growth` say 0 where a figure is known to be none."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Nothing: every upgrade makes all views anew."""
