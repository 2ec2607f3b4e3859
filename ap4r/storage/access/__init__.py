"""How statements run: transactions, retries, time limits, and commits in groups."""
