"""Which countries a work belongs to, with the proof, and the reference data that decide it."""
