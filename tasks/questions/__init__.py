"""Ready questions to a release, each a function that returns an Answer."""
