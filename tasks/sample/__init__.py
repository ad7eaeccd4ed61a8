"""A synthetic snapshot to try things on."""
