"""Where a warehouse lives: its engines, its layout and versions, its transactions, and the folders of a run."""
