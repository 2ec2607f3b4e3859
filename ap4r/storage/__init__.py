"""Where messages are kept: one contract (`store`), and the databases that keep it. Knows no HTTP."""
