"""The demo: starts the shop, its dispatcher and the neighbour, lets things go wrong, and shows what becomes of it."""
