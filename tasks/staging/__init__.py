"""From landed lines to staged Arrow tables, in as many processes as there are."""
