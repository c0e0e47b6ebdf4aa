"""A project that has replaced compile() for all compilers, as pybind11's ParallelCompile does."""

from __future__ import annotations

from pathlib import Path

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


def test_what_it_compiles_runs_ahead_and_gives_the_serial_wheel(tmp_path: Path) -> None:
    folder = write_extensions(tmp_path / "parts", {"a": 2, "b": 1, "c": 2}, code=REPLACED)
    expected = serial_wheel(folder, env=NO_OPTIMISATION)
    log = tmp_path / "cc.log"
    # None ends before two have begun.
    body = 'log "+ $source"\n[ $kind = compile ] && patiently logged "^+" 2\nreal "$@"\nlog "-"'
    env = write_compiler(tmp_path / "cc", body)
    with running_build(folder, env=env, jobs=3) as build:
        done = build.finish()
        assert done.returncode == 0, done.output
        assert wheel_bytes_equal(build.out / str(done.result), expected)
    assert 2 <= most_at_once(log) <= 3
