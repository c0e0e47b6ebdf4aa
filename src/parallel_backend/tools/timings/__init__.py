"""The picture of where the time of a build went: a trace, and one HTML page.

`events` reads what `parallel_backend.timings.record` has written, `timeline` lays it out in job
slots, `path` and `verdicts` say what decided how long it took, `trace` and `page` show it, and
`report` writes both.
"""
