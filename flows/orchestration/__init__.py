"""How Prefect deploys, runs, shows and announces the flows."""
