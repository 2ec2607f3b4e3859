"""Settings: their names, bounds and defaults, and where they are read."""
