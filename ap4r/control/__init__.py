"""What an operator can do with a store, one function for each use case. They print nothing.

`status`, `list_dead_letters`, `replay`, `replay_all`, `migrate`, `check_tables`, `migration_sql`, `diagnose` and
`initialise` each have a module, or share one with the others of their subject. They return frozen dataclasses and raise
`ap4r.errors.Ap4rError`. The command `ap4r` is one of their callers; others do not depend on a terminal.
"""
