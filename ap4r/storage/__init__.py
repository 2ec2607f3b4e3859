"""Where messages are stored: one contract (`store`), and the databases that implement it. Does not depend on HTTP."""
