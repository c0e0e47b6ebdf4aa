"""A `build` that always runs `build_clib`, in a project without C libraries."""

from setuptools import Extension, setup
from setuptools.command.build import build


class Build(build):
    def run(self):
        self.run_command("build_clib")
        super().run()


setup(
    cmdclass={"build": Build},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
