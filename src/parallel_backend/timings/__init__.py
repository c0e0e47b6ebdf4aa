"""What ran, and when: the closing line of each hook and, where asked for, a trace and a page.

`record` notes what happens while it does; `session` does so for one hook, `collection` for many.
At the end `events` reads the notes, `timeline` lays them out in job slots, `path` and `verdicts`
say what decided how long it took, and `trace` and `page` write it down.
"""

from __future__ import annotations

from parallel_backend.timings.tally import Tally

__all__ = ["Tally"]
