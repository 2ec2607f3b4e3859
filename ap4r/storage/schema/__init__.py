"""The tables of a store, their version, and the migrations between versions."""
