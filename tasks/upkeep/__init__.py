"""What keeps a warehouse in order: its state, its runs, upgrades, retention, alerts."""
