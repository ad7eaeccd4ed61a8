"""What is expected of records and of batches, and what was found."""
