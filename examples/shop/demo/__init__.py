"""The demo: starts the shop, its dispatcher and the warehouse, causes failures, and shows the messages."""
