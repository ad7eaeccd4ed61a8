"""Draws on a terminal what tasks found out."""
