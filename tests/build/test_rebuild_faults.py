"""Rebuilds after harm: killed builds, damaged stores, two builds at once, strange compilers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sysconfig
import time
import venv
from pathlib import Path

import pytest
from setuptools._distutils.ccompiler import CCompiler

from parallel_backend.records.store import Store
from rebuild_project import kill_session, make_tree, tiny_tree

pytestmark = pytest.mark.slow

TINY = {"m.c": "int number = 1;\n"}
LONG = "".join(f"static inline int f{n}(int x) {{ return x * {n}; }}\n" for n in range(1000))
KILLS = 5


def test_a_build_that_is_killed_harms_no_later_one(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made")
    chance = random.Random(1)
    wanted = {}
    began = time.monotonic()
    for text in ("int lone = 1;\n", "int lone = 2;\n"):
        tree.write({"second/nested/deep.h": f"#define DEEP 1\n{LONG}", "src/lone.c": text})
        wanted[text] = tree.step().fresh
    length = (time.monotonic() - began) / 4
    for number in range(KILLS):
        text = chance.choice(list(wanted))
        tree.write({"second/nested/deep.h": f"#define DEEP 1\n// {number}\n{LONG}",
                    "src/lone.c": text})  # fmt: skip
        hook = chance.choice(["build_wheel", "build_editable"])
        build = tree.start(hook, start_new_session=True)
        time.sleep(chance.random() * length)
        if number % 2:
            kill_session(build.pid)
        else:
            os.killpg(build.pid, signal.SIGKILL)
        build.communicate()
        # A line number less: the same debug information.
        tree.write({"second/nested/deep.h": f"#define DEEP 1\n{LONG}"})
        step = tree.step(hook, beside=False)
        assert step.built == wanted[text], (number, step.output)


def test_a_damaged_store_is_no_harm(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made")
    wanted = tree.step().fresh
    chance = random.Random(2)
    for how in range(4):
        objects = sorted((tree.folder / "build/parallel-backend/objects").iterdir())
        assert len(objects) >= 10
        for path in objects:
            data = bytearray(path.read_bytes())
            if how == 0:
                path.write_bytes(data[: chance.randrange(len(data))])
            elif how == 1:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                path.write_bytes(data)
            elif how == 2:
                path.unlink()
            else:
                _, _, rest = data.partition(b"\n")
                path.write_bytes(chance.choice([b"[]", b"{}", b"1", b'"x"', b""]) + b"\n" + rest)
        assert tree.step(beside=False).built == wanted
        assert tree.step(beside=False).compiled == 0
    for part in ("build/parallel-backend", "build/temp.*", "build/lib.*", "build"):
        for path in tree.folder.glob(part):
            shutil.rmtree(path)
        assert tree.step(beside=False).built == wanted


def test_without_a_place_for_a_store_it_builds(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY)
    tree.write({"build/parallel-backend": ""})
    for _ in range(2):
        step = tree.step()
        assert (step.compiled, step.wrong) == (1, [])


def test_the_store_keeps_to_its_size(tmp_path: Path) -> None:
    made = tmp_path / "made"
    store = Store(tmp_path, limit=3500)
    for number, name in enumerate("abcd"):
        made.write_bytes(b"x" * 1000)
        store.keep(name, str(made), {"inputs": [], "absent": []}, b"[]\n", build="b")
        os.utime(tmp_path / name, (number, number))
    assert store.take("a", str(made), holds=lambda *_: True, mode=0o666)
    made.unlink()
    store.trim()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_a_build_leaves_a_store_of_its_size(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made")
    for number in range(2):
        tree.write({"src/lone.c": f"int lone = {number};\n"})
        step = tree.step("build_wheel", "store-size=60000B", beside=not number)
        objects = list((tree.folder / "build/parallel-backend/objects").iterdir())
        assert 0 < sum(path.stat().st_size for path in objects) <= 60000
        assert step.wrong == [] or number


# --- two builds


def test_two_wheels_at_once_are_both_right(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made")
    for _ in range(3):
        shutil.rmtree(tree.folder / "build", ignore_errors=True)
        builds = [tree.start("build_wheel", out) for out in ("one", "two")]
        texts = [build.communicate()[0] for build in builds]
        assert [build.returncode for build in builds] == [0, 0], texts
        built = [text.rpartition("RESULT ")[2] for text in texts]
        assert built[0].count(".so") == 3
        assert built[0] == built[1]
    assert not list(tree.folder.rglob("*tmp*"))


PAUSED = """
import time
from setuptools.command.build_ext import build_ext
class paused(build_ext):
    def run(self):
        super().run()
        if os.environ.get("PAUSED"):
            open(os.environ["PAUSED"] + ".reached", "w")
            while not os.path.exists(os.environ["PAUSED"]):
                time.sleep(0.01)
cmdclass = {"build_ext": paused}
"""


def test_a_build_that_fails_takes_nothing_from_another_one(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY, setup=PAUSED)
    signal_file = tmp_path / "go"
    first = tree.start("build_wheel", "one", env={"PAUSED": str(signal_file)})
    until = time.monotonic() + 60
    while not signal_file.with_name("go.reached").exists():
        assert first.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    second = tree.start("build_wheel", "two", env={"CFLAGS": "--not-an-option"})
    assert second.stdout is not None
    assert any("another build of this tree" in line for line in second.stdout)
    assert first.poll() is None
    signal_file.touch()
    text = first.communicate()[0]
    assert '"m.' in text.rpartition("RESULT ")[2], text
    second.communicate()
    assert second.returncode


def test_a_build_that_a_build_of_the_same_tree_starts_does_not_wait_for_it(tmp_path: Path) -> None:
    nested = """
import subprocess
cmdclass = {}
if not os.environ.get("NESTED"):
    from setuptools.command.build_ext import build_ext
    class nesting(build_ext):
        def run(self):
            code = "import parallel_backend; parallel_backend.build_wheel('nested')"
            environ = {**os.environ, "NESTED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
            os.makedirs("nested", exist_ok=True)
            subprocess.run([sys.executable, "-c", code], check=True, env=environ, timeout=60)
            super().run()
    cmdclass = {"build_ext": nesting}
"""
    tree = tiny_tree(tmp_path, TINY, setup=nested)
    text = tree.start("build_wheel", "one").communicate()[0]
    assert '"m.' in text.rpartition("RESULT ")[2], text
    assert "another build" not in text
    assert list(tree.folder.glob("nested/*.whl"))


def test_a_wheel_and_an_editable_build_at_once_are_both_right(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made")
    wanted = tree.step().fresh
    shutil.rmtree(tree.folder / "build")
    builds = [tree.start("build_wheel", "one"), tree.start("build_editable", "two")]
    for build in builds:
        text = build.communicate()[0]
        assert build.returncode == 0, text
        assert all(digest in text.rpartition("RESULT ")[2] for digest in wanted.values())
    assert not list(tree.folder.rglob("*tmp*"))


# --- compilers


@pytest.mark.parametrize(
    "refuses", ["-MD", "-Wl,--dependency-file", "-dM"], ids=["rules", "link rules", "macros"]
)
def test_a_compiler_that_knows_less_builds_as_before(refuses: str, tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY)
    tree.record_compilers()
    wrapper = tree.tools / "cc"
    test = f'for a in "$@"; do case "$a" in {refuses}*) exit 1;; esac; done\nexec'
    wrapper.write_text(wrapper.read_text().replace("exec", test))
    for _ in range(2):
        step = tree.step()
        assert step.wrong == []
        assert step.compiled == 1 or "-W" in refuses


@pytest.mark.parametrize("by", ["-B", "COMPILER_PATH"])
@pytest.mark.parametrize("program", ["as", "ld"])
def test_an_assembler_or_linker_of_ones_own_is_looked_at(
    program: str, by: str, tmp_path: Path
) -> None:
    tree = tiny_tree(tmp_path, TINY)
    tools, real = tmp_path / "own", shutil.which(program)
    tools.mkdir()
    if by == "-B":
        tree.env |= {"CFLAGS": f"-O0 -g -B{tools}", "LDFLAGS": f"-B{tools}"}
    else:
        tree.env["COMPILER_PATH"] = str(tools)
    for symbol in ("one", "two"):
        (tools / program).write_text(f'#!/bin/sh\nexec {real} --defsym {symbol}=1 "$@"\n')
        (tools / program).chmod(0o755)
        assert tree.step().wrong == []


def test_options_for_this_machine_are_no_obstacle(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY, extra_compile_args="['-march=native']")
    assert tree.step().wrong == []
    assert tree.step(beside=False).reused == 2


OWN = """
from setuptools.command.build_ext import build_ext
class own(build_ext):
    def build_extensions(self):
        {0} = self.compiler.{0}
        def replaced(*args, **options):
            with open("called", "a") as stream:
                stream.write(".")
            return {0}(*args, **options)
        self.compiler.{0} = replaced
        super().build_extensions()
cmdclass = {{"build_ext": own}}
"""


@pytest.mark.parametrize("name", ["_compile", "call", "spawn", "link"])
def test_what_a_project_replaces_still_runs_when_objects_are_reused(
    name: str, tmp_path: Path
) -> None:
    if name == "call" and not hasattr(CCompiler, "call"):
        pytest.skip("this setuptools has no such method")
    tree = tiny_tree(tmp_path, TINY, setup=OWN.format(name))
    tree.record_compilers()
    called = tree.folder / "called"
    assert tree.step(beside=False).compiles == 1
    first = called.read_text() if called.exists() else ""
    assert first or (name == "spawn" and hasattr(CCompiler, "call"))
    again = tree.step(beside=False)
    assert again.compiles == 0
    assert (called.read_text() if called.exists() else "") == first * 2


def test_a_project_that_wraps_compile_gets_no_stale_extension(tmp_path: Path) -> None:
    files = {"m.c": '#include "m.h"\nint number = H;\n', "m.h": "#define H 1\n"}
    tree = tiny_tree(tmp_path, files, setup=OWN.format("compile"))
    tree.step(beside=False)
    tree.write({"m.h": "#define H 2\n"})
    assert tree.step().wrong == []


# --- what the surroundings decide


def test_a_time_that_an_option_asks_for_is_not_kept(tmp_path: Path) -> None:
    tree = tiny_tree(
        tmp_path, {"m.c": "const char *at = AT;\n"}, extra_compile_args="['-DAT=__TIME__']"
    )
    run = "import os; del os.environ['SOURCE_DATE_EPOCH']\n"
    tree.write({"setup.py": run + (tree.folder / "setup.py").read_text()})
    tree.step(beside=False)
    assert tree.step(beside=False).reused == 0


def test_the_folder_that_debug_information_tells_is_this_builds(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY)
    link = tmp_path / "link"
    link.symlink_to(tree.folder)
    for name in (tree.folder, link):  # gcc believes PWD
        tree.env["PWD"] = str(name)
        assert tree.step().wrong == []


@pytest.mark.parametrize(
    "options",
    [
        {"define_macros": "[('AT', repr(sys.prefix).replace(chr(39), chr(34)))]"},
        {"runtime_library_dirs": "[sys.prefix + '/lib/own']"},
    ],
    ids=["macro", "rpath"],
)
def test_another_environment_has_its_own_path_in_what_is_built(
    options: dict[str, str], tmp_path: Path
) -> None:
    text = "#ifndef AT\n#define AT 0\n#endif\nconst char *at = AT;\n"
    tree = tiny_tree(tmp_path, {"m.c": text}, **options)
    tree.env["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[2] / "src"), sysconfig.get_path("purelib")]
    )
    for name in ("first", "second"):
        venv.create(tmp_path / name, with_pip=False)
        tree.python = str(tmp_path / name / "bin/python")
        assert tree.step().wrong == []


@pytest.mark.parametrize(
    "words", [["-aux-info", "more"], ["-Wa,-ahl=more"], ["-fopt-info-all=more"]], ids=" ".join
)
def test_a_file_beside_the_object_is_written_each_time(words: list[str], tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, {"m.c": LONG}, extra_compile_args=repr(words))
    for _ in range(2):
        tree.step(beside=False)
        (tree.folder / "more").unlink()


def test_a_linkers_map_is_written_each_time(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY, extra_link_args="['-Wl,-O1,-Map=more']")
    for _ in range(2):
        tree.step(beside=False)
        (tree.folder / "more").unlink()


def test_permissions_are_those_of_this_build(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY)
    masks = "os.umask(int(os.environ['MASK'], 8))\n"
    tree.write({"setup.py": "import os\n" + masks + (tree.folder / "setup.py").read_text()})
    for mask, mode in (("077", 0o700), ("022", 0o755)):
        tree.env["MASK"] = mask
        tree.step(beside=False)
        [built] = tree.folder.glob("build/lib.*/m.*.so")
        assert built.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("header", [True, False])
def test_the_c_libraries_of_a_project_are_not_stale(header: bool, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "made")
    tree.step(beside=False)
    if header:
        tree.write({"second/shared.h": '#include "nested/deep.h"\n#define SHARED 7\n'})
    else:
        tree.env["CFLAGS"] = "-O1 -g"
    assert tree.step().wrong == []


def test_the_store_is_found_where_the_project_builds(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path, TINY)
    tree.write({"setup.cfg": "[build]\nbuild_base = made/here\n"})
    tree.step(beside=False)
    assert tree.step(beside=False).reused == 2
    assert (tree.folder / "made/here/parallel-backend/objects").is_dir()
    assert not (tree.folder / "build/parallel-backend").exists()
