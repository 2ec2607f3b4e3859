"""Child processes for long computations, with limits of time and memory."""
