"""Settings: their names, bounds and defaults, and the code that reads them."""
