"""Child processes for what takes long to compute, with limits of time and memory."""
