"""The commands of `collab`, one module a group."""
