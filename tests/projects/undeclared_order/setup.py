"""Building `maker` leaves a header and an archive; two later extensions need them and do not say so."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def build_extension(self, ext):
        generated = Path(self.build_temp, "generated")
        if ext.name == "maker":
            super().build_extension(ext)
            generated.mkdir(parents=True, exist_ok=True)
            (generated / "made.h").write_text("#define MADE 7\n")
            objects = self.compiler.compile(["made.c"], output_dir=self.build_temp)
            self.compiler.create_static_lib(objects, "made", output_dir=str(generated))
            return
        ext.include_dirs.append(str(generated))
        if ext.name == "linker":
            ext.extra_objects.append(str(generated / "libmade.a"))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("maker", "includer", "linker")],
)
