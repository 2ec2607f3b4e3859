"""What an operator asks of a store and of its dispatchers. Knows neither the middleware nor the dispatcher."""
