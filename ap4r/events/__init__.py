"""Events of a dispatcher, and the bus that carries them to subscribers."""
