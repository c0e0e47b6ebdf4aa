"""Fractals, drawn by one C extension a formula."""

from __future__ import annotations

from fractal.picture import VIEWS, Picture, View, draw

__all__ = ["VIEWS", "Picture", "View", "draw"]
