"""What differs between databases: SQL text, drivers, connections and error codes."""
