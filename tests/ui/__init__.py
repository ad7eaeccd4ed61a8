"""What a maintainer sees: a real server, a real worker, and a real browser; `make ui`."""
