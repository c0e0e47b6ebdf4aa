"""How Sphinx makes the book. `nox -s docs` runs it."""

from __future__ import annotations

project = "parallel_backend"
author = "The parallel_backend authors"
copyright = "The parallel_backend authors"

extensions = ["myst_parser"]
# A link may name a heading as a forge does: page.md#its-words.
myst_heading_anchors = 3

html_theme = "furo"
html_title = "parallel_backend"
html_show_sphinx = False
