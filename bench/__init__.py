"""What this project's speed and its promises are measured with; see docs/benchmarks.md.

``python -m bench`` is the suite. What else there is runs as ``python -m bench.NAME``.
"""
