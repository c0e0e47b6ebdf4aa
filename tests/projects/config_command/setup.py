"""The `config` command compiles one file name, `_configtest.c`, again and again with other contents."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PROBES = [
    ("HAVE_STRLEN", "#include <string.h>\nint main(void) { return (int)strlen(\"\"); }"),
    ("HAVE_NOTHING", "int no_such_function_anywhere(void);\nint main(void) { return no_such_function_anywhere(); }"),
    ("HAVE_NO_TYPE", "no_such_type x;\nint main(void) { return 0; }"),
    ("HAVE_MAIN", "int main(void) { return 0; }"),
]


class BuildExt(build_ext):
    def run(self):
        config = self.get_finalized_command("config")
        for macro, body in PROBES:
            # try_link needs the very object that try_compile of the same body just made.
            found = config.try_compile(body) and config.try_link(body)
            self.extensions[0].define_macros.append((macro, str(int(found))))
        super().run()


setup(cmdclass={"build_ext": BuildExt}, ext_modules=[Extension("probed", ["probed.c"])])
