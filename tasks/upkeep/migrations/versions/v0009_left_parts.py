"""The view `completeness` knows of parts of a snapshot that were left out, and of months that were undone."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Nothing: every upgrade makes all views anew."""
