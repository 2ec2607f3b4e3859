"""Monotonic time, and steps and standstills of clocks."""
