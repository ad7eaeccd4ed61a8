"""Territories, blocs, the names that say them, and what may decide for one."""
