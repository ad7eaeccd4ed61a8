"""The counting rules, each once: what a work, and what a citation, adds to every cell of the mart."""
