"""Programs around the backend: command line, hook server, byte-compiler, timings page.

No hook imports them, and no vendored copy has them.
"""
