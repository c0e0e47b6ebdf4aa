"""A project that has replaced compile() for all compilers, as pybind11's ParallelCompile does."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import serial_wheel, wheel_bytes_equal
from watched_builds import (
    NO_OPTIMISATION,
    most_at_once,
    running_build,
    write_compiler,
    write_extensions,
)

REPLACED = """
import distutils.ccompiler
def compile(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0,
            extra_preargs=None, extra_postargs=None, depends=None):
    macros, objects, extra_postargs, pp_opts, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    cc_args = self._get_cc_args(pp_opts, debug, extra_preargs)
    for name in objects:
        self._compile(name, *build[name], cc_args, extra_postargs, pp_opts)
    return objects
distutils.ccompiler.CCompiler.compile = compile
"""


def test_extensions_are_built_one_at_a_time(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2, "b": 1, "c": 2}, code=REPLACED)
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    log = tmp_path / "cc.log"
    env = write_compiler(tmp_path / "cc", 'log "+ $source"\nsleep 0.02\nreal "$@"\nlog "-"')
    with running_build(folder, env=env, jobs=3) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        assert wheel_bytes_equal(build.out / str(done.result), expected)
    assert most_at_once(log) == 1
    said = done.stdout.count("a project's own compile() runs: one extension at a time")
    # In mode "serial" it would be so in any case.
    assert said == (mode != "serial")
