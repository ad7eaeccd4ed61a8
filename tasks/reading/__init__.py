"""From a raw record to a typed work, or to quarantine with the reason."""
