"""The result of a call and what follows from it: the response, the outcome, the retry."""
