"""One verb each: plan, land, parse, locate, validate, load, publish. May import schemas, never flows."""
