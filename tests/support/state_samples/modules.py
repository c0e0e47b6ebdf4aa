"""Which modules a hook finds: of its own project, of its environment as it is now."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from hook_sequences import Sample, call, project
from projects import TINY_C
from state_samples.telling import METADATA, WHEEL, told_by

__all__ = ["MODULES"]

_OWN_PATH = "sys.path.insert(0, os.getcwd())\n"

_CUSTOM = """\
from setuptools.command.build_py import build_py

class Own(build_py):
    def run(self):
        super().run()
        with open(self.build_lib + "/{name}.txt", "w") as file:
            file.write("{text}")
"""

_CUSTOM_SETUP = """\
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from setuptools import setup
from _custom import Own

setup(name="{name}", version="1.0", py_modules=["{name}"], cmdclass={{"build_py": Own}})
"""

_CMDCLASS = """\
[build-system]
requires = ["setuptools>=77"]
[project]
name = "{name}"
version = "1.0"
[tool.setuptools]
py-modules = ["{name}"]
cmdclass = {{build_py = "_custom.Own"}}
"""

_ATTR = """\
[build-system]
requires = ["setuptools>=77"]
[project]
name = "one"
dynamic = ["version"]
[tool.setuptools]
packages = ["one"]
[tool.setuptools.dynamic]
version = {attr = "one.about.VERSION"}
"""

_EXTENSION = """\
from setuptools import Extension, setup
setup(name="{name}", version="1.0", ext_modules=[Extension("tiny", ["{source}"])])
"""

# As Cython's own setup.py: the package that lies beside it, not the one that is installed.
_SHADOWING = """\
import os, sys
sys.path.insert(0, os.getcwd())
from setuptools import setup
from Cython import __version__
from Cython.Compiler.Version import watermark
import Cython.Compiler.Main as main

setup(name="Cython", version=__version__, packages=["Cython"], description=watermark + main.WHO)
"""

# What setuptools asks of Cython; its compiler copies what stands in a .pyx file.
_FAKE = {
    "Cython/__init__.py": "__version__ = '99.1'\n",
    "Cython/Distutils/__init__.py": "",
    "Cython/Distutils/build_ext.py": """\
import shutil
from distutils.command.build_ext import build_ext as _build_ext

class build_ext(_build_ext):
    def swig_sources(self, sources, extension=None):
        for source in sources:
            if source.endswith(".pyx"):
                shutil.copyfile(source, source[:-4] + ".c")
        return [source.replace(".pyx", ".c") for source in sources]
""",
    "Cython/Compiler/__init__.py": "",
    "Cython/Compiler/Version.py": "watermark = 'installed'\n",
    "Cython/Compiler/Main.py": "WHO = 'installed'\n",
}
_IN_TREE = {
    "Cython/__init__.py": "__version__ = '3.0.9'\n",
    "Cython/Compiler/__init__.py": "",
    "Cython/Compiler/Version.py": "watermark = 'in-tree'\n",
    "Cython/Compiler/Main.py": "WHO = 'in-tree'\n",
}

_PLUGIN = """\
def finalize(distribution):
    distribution.metadata.description = "finalized by {which}"
"""


def _customs(*, declared: bool) -> Sample:
    files: dict[str, str] = {}
    for name in ("one", "two"):
        own = {"_custom.py": _CUSTOM.format(name=name, text=f"made by {name}'s")}
        if declared:
            files |= project(name, files={**own, "pyproject.toml": _CMDCLASS.format(name=name)})
        else:
            files |= project(name, setup=_CUSTOM_SETUP.format(name=name), files=own)
    return Sample(files=files, steps=[call(WHEEL, "one"), call(WHEEL, "two"), call(WHEEL, "one")])


def _edited(files: dict[str, str], path: str, text: str, *, legacy: bool = False) -> Sample:
    """A module that is edited between two hooks. The new text is longer: within the same second
    an equal size would be up to date, for a fresh process too."""
    return Sample(
        files=files,
        steps=[call(METADATA), call(WHEEL), {"write": path, "text": text}, call(METADATA),
               call(WHEEL)],
        legacy=legacy,
    )  # fmt: skip


def _installed(files: dict[str, str]) -> dict[str, str]:
    return {f"installed/{path}": text for path, text in files.items()}


def _translating(origins: list[str], *, files: dict[str, str], source: str) -> Sample:
    """Requirements, then Cython is installed from `origins`, then a build that needs it."""
    links = [{"link": f"installed/{Path(origin).name}", "to": origin} for origin in origins]
    setup = _EXTENSION.format(name="one", source="tiny.pyx")
    return Sample(
        files={**files, **project("one", setup=setup, files={"tiny.pyx": source})},
        steps=[
            call("get_requires_for_build_wheel"),
            call(METADATA),
            *links,
            call("get_requires_for_build_wheel"),
            call(WHEEL),
        ],
        path=["installed"],
        bare=True,
    )


@cache
def _real_cython() -> dict[str, Sample]:
    """With the Cython that is installed here, if there is one: its modules are compiled."""
    spec = find_spec("Cython")
    if spec is None or spec.origin is None:
        return {}
    files = project("one", setup=_EXTENSION.format(name="one", source="tiny.c"))
    files["one/tiny.c"] = TINY_C.format(name="tiny")
    folder = Path(spec.origin).parent
    origins = [str(folder), str(folder.with_name("cython.py"))]
    return {
        "real_cython_shadowed": Sample(
            files={**files, **project("Cython", setup=_SHADOWING, files=_IN_TREE)},
            steps=[call(WHEEL), call(METADATA, "Cython"), call(METADATA, "one")],
        ),
        "real_cython_appears": _translating(origins, files={}, source="value = 7\n"),
    }


MODULES: dict[str, Sample] = {
    "own_module_of_equal_name": _customs(declared=False),
    "own_command_class_of_equal_name": _customs(declared=True),
    "module_left": Sample(
        files={
            **project(
                "one",
                setup=told_by("one", tells="helper.TEXT", imports=_OWN_PATH + "import helper"),
                files={"helper.py": "TEXT = 'of one'\n"},
            ),
            **project("two", setup=told_by("two", tells="'helper' in sys.modules")),
            **project(
                "three", setup=told_by("three", tells="None", imports=_OWN_PATH + "import helper")
            ),
        },
        steps=[call(METADATA, name) for name in ("one", "two", "three", "one")],
    ),
    "own_package_shadows_an_installed_one": Sample(
        files={
            **_installed(_FAKE),
            **project(
                "one",
                setup=_EXTENSION.format(name="one", source="tiny.c"),
                files={"tiny.c": TINY_C.format(name="tiny")},
            ),
            **project("Cython", setup=_SHADOWING, files=_IN_TREE),
        },
        steps=[
            call(WHEEL),
            call(METADATA, "Cython"),
            {"delete": "one/build"},
            call(WHEEL),
            call(METADATA, "Cython"),
        ],
        path=["installed"],
    ),
    "module_of_setup_py_edited": _edited(
        project(
            "one",
            setup=told_by("one", tells="helper.TEXT", imports=_OWN_PATH + "import helper"),
            files={"helper.py": "TEXT = 'old'\n"},
        ),
        "one/helper.py",
        "TEXT = 'edited meanwhile'\n",
    ),
    "module_of_legacy_setup_py_edited": _edited(
        project(
            "one",
            setup=told_by("one", tells="helper.TEXT", imports="import helper"),
            files={"helper.py": "TEXT = 'old'\n"},
        ),
        "one/helper.py",
        "TEXT = 'edited meanwhile'\n",
        legacy=True,
    ),
    "module_of_attr_edited": _edited(
        project(
            "one",
            files={
                "pyproject.toml": _ATTR,
                "one/__init__.py": "",
                "one/about.py": "VERSION = '.'.join('12')\n",
            },
        ),
        "one/one/about.py",
        "VERSION = '.'.join('3456')\n",
    ),
    "module_of_cmdclass_edited": _edited(
        project(
            "one",
            files={
                "pyproject.toml": _CMDCLASS.format(name="one"),
                "_custom.py": _CUSTOM.format(name="one", text="old"),
            },
        ),
        "one/_custom.py",
        _CUSTOM.format(name="one", text="edited meanwhile"),
    ),
    "requirement_upgraded": Sample(
        files={
            "installed/tool.py": "TEXT = 'version 1'\n",
            **project("one", setup=told_by("one", tells="tool.TEXT", imports="import tool")),
        },
        steps=[
            call(METADATA),
            {"write": "installed/tool.py", "text": "TEXT = 'version 2.0'\n"},
            call(METADATA),
        ],
        path=["installed"],
    ),
    "plugin_installed_then_upgraded": Sample(
        files=project("one"),
        steps=[
            call(METADATA),
            {
                "write": "installed/plugin-1.dist-info/entry_points.txt",
                "text": "[setuptools.finalize_distribution_options]\nplugin = plugin:finalize\n",
            },
            {"write": "installed/plugin.py", "text": _PLUGIN.format(which="version 1")},
            call(METADATA),
            {"write": "installed/plugin.py", "text": _PLUGIN.format(which="version 2.0")},
            call(METADATA),
        ],
        path=["installed"],
    ),
    "cython_appears": _translating(
        ["../fake/Cython"],
        files={f"fake/{path}": text for path, text in _FAKE.items()},
        source=TINY_C.format(name="tiny"),
    ),
    **_real_cython(),
}
