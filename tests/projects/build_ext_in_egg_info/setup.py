"""`egg_info` builds the extensions, so that every hook does: that which asks for requirements as well."""

from setuptools import Extension, setup
from setuptools.command.egg_info import egg_info

extensions = [
    Extension(name, ["number.c", f"{name}.c"], define_macros=[("NUMBER", str(number))])
    for number, name in enumerate(("first", "second", "third"), 1)
]


class EggInfo(egg_info):
    def run(self):
        self.run_command("build_ext")
        super().run()


setup(cmdclass={"egg_info": EggInfo}, ext_modules=extensions)
