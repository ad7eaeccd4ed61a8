"""Ready-made questions about a release, each a function that returns an Answer."""
