"""What ran, and when: the closing line of each hook and, where asked for, a record of it.

`record` notes what happens while it does, and `session` does so for one hook. What is made of a
record is the business of ``tools/timings``.
"""

from __future__ import annotations

from parallel_backend.timings.tally import Tally

__all__ = ["Tally"]
