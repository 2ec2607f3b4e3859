"""Honest load beside attacks: what hostile targets and callers make of latency, memory and descriptors."""
