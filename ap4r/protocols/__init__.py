"""How a target is called: a call becomes a request in the web process, and the dispatcher reads the response.

No I/O, and nothing of how messages are kept. Others may be added through the entry points of group `ap4r.protocols`.
"""
