"""Which projects the hook server takes for ones that run no code of their own in a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_backend.tools.hook_server.projects import is_plain

PROJECT = '[project]\nname = "sample"\nversion = "1.0"\n'

PLAIN = [
    "",
    "from setuptools import setup\nsetup()\n",
    "#!/usr/bin/python\n# coding: latin-1\n'A text.'\nimport setuptools\nsetuptools.setup()\n",
    """
from setuptools import find_packages, setup
setup(name='x', version="1", packages=find_packages('src'), package_dir={'': 'src'})
""",
    """
from setuptools import Extension, setup
if __name__ == '__main__':
    setup(ext_modules=[Extension('a', ['a.c'], define_macros=[('A', None)])])
""",
]
OWN_CODE = [
    "import os\n",
    "import setuptools.command.sdist\n",
    "import setuptools as s\ns.setup()\n",
    "from setuptools import setup as s\ns()\n",
    "from setuptools import Command\n",
    "from setuptools.command import sdist\n",
    "from . import setup\n",
    "from distutils.core import setup\nsetup()\n",
    "from setuptools import setup\nNAME = 'x'\nsetup(name=NAME)\n",
    "from setuptools import setup\nsetup(name=open('NAME').read())\n",
    "from setuptools import setup\nsetup(**{'name': 'x'})\n",
    "from setuptools import setup\nsetup({**{}})\n",
    "from setuptools import setup\nsetup(name=f'{1}')\n",
    "from setuptools import setup\nsetup(cmdclass={})\n",
    "from setuptools import setup\nsetup(command_packages='x')\n",
    "import setuptools\nsetuptools.sandbox.run_setup('x')\n",
    "import setuptools\nsetuptools.setup.__call__()\n",
    "from setuptools import setup\n[setup() for x in 'a']\n",
    "if True:\n    import setuptools\n",
    "if __name__ == '__main__':\n    import os\n",
    "if __name__ == '__main__':\n    import setuptools\nelse:\n    import os\n",
    "setup(\n",
    "\0",
    "#" * 100_000,
    "setup(" * 5_000 + ")" * 5_000,
]


@pytest.mark.parametrize("text", PLAIN, ids=map(str, range(len(PLAIN))))
def test_a_setup_py_that_only_calls_setup_is_no_code(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "setup.py").write_text(text)
    assert is_plain(str(tmp_path))


@pytest.mark.parametrize("text", OWN_CODE, ids=map(str, range(len(OWN_CODE))))
def test_a_setup_py_that_does_anything_else_is_code(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "setup.py").write_text(text)
    assert not is_plain(str(tmp_path))


def test_what_cannot_be_read_is_code(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "setup.py").mkdir()
    assert not is_plain(str(tmp_path))
    assert not is_plain(str(tmp_path / "nowhere"))
