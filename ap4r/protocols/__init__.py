"""How a target is called: a call becomes a request in the web process, and the dispatcher reads the response.

No I/O, and no dependency on storage. Packages may add others through the entry points of group `ap4r.protocols`.
"""
