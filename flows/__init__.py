"""The order of things: flows and the command line. May import tasks and schemas."""
