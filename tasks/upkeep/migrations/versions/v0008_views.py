"""Views that count citations to territories without a paper of the year, and that know of months never fetched."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Nothing: every upgrade makes all views anew."""
