"""Projects that leave something behind, and sequences of hooks that go wrong by it in one process.

Each is one row of what is known to go wrong where plain setuptools' hooks share a process.
"""

from __future__ import annotations

from hook_sequences import Sample
from state_samples.builds import BUILDS
from state_samples.interpreter import INTERPRETER
from state_samples.libraries import LIBRARIES
from state_samples.modules import MODULES
from state_samples.tools import TOOLS

__all__ = ["SAMPLES"]

SAMPLES: dict[str, Sample] = {**BUILDS, **MODULES, **TOOLS, **INTERPRETER, **LIBRARIES}
