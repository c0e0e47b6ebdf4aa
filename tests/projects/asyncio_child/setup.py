"""Building an extension runs a child by asyncio; what it prints belongs to the build's output."""

import asyncio

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


async def say(text):
    child = await asyncio.create_subprocess_exec("sh", "-c", 'echo "$0"', text)
    return await child.wait()


class BuildExt(build_ext):
    def build_extension(self, ext):
        status = asyncio.run(say(f"by asyncio: {ext.name}"))
        ext.define_macros.append(("NUMBER", str(status)))
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[Extension(name, [f"{name}.c"]) for name in ("first", "second")],
)
