"""Which images train, validate and test, and which of them belong together."""
