"""Honest load beside attacks: the effect of hostile targets and callers on latency, memory and descriptors."""
