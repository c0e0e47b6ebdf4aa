"""``python -m parallel_backend``."""

from __future__ import annotations

from parallel_backend.tools.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())
