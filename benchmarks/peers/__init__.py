"""Other systems, each a module with its recommended setup, beside ap4r on the same sink.

A peer's module is imported by its own Python only (.venv-peers), never by the program that measures. It has
`NAME`; `STORE_KIND`, one of redis, postgresql and sqlite; `SETUP`, why it is set up so; `WORKERS`, the commands that
together are two processes of work; `enqueue(calls)`, which puts a call after the other as its users would; and if need
be `PREPARE`, a command to run once before.
"""
