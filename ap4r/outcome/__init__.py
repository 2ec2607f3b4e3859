"""What a call came to, and what follows: the response, the outcome, the retry."""
