"""Units that are committed or not: a batch of a landing, what takes it back, and what decides stored works again."""
