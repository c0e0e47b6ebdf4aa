"""Building an extension starts a child that makes a session of its own before it becomes a program."""

import os
import subprocess

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        with subprocess.Popen(["echo", "one of", ext.name], preexec_fn=os.setsid) as child:
            pass
        ext.define_macros.append(("NUMBER", str(child.returncode)))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
