"""MAKEFLAGS: what is read from it, and what children find in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_backend.jobserver import environment, makeflags


@pytest.mark.parametrize(
    ("flags", "auth"),
    [
        ("", None),
        ("ks -j4", None),
        (" -j4 --jobserver-auth=3,4", "3,4"),
        ("w -j --jobserver-fds=5,6 -j", "5,6"),
        ("--jobserver-fds=3,4 --jobserver-auth=fifo:/a", "fifo:/a"),
        ("--jobserver-auth=fifo:/a --jobserver-fds=3,4", "3,4"),
        (" -- A=b --jobserver-auth=fifo:/a", "fifo:/a"),
        (r" --jobserver-auth=fifo:/a\ b", "fifo:/a b"),
        (r" -- A=\ --jobserver-auth=3,4", None),
        ("--jobserver-auth=", ""),
        ("x\\", None),
    ],
)
def test_the_last_jobserver_option_counts(flags: str, auth: str | None) -> None:
    assert makeflags.find_auth(flags) == auth


@pytest.mark.parametrize(
    ("flags", "kept_open", "kept_sheltered"),
    [
        ("", " NEW", " -- NEW"),
        (" -j4 --jobserver-auth=3,4", " NEW", " -- NEW"),
        ("ks -j4 --jobserver-auth=3,4 -l2", "ks -l2 NEW", "ks -l2 -- NEW"),
        ("kj4", "k NEW", "k -- NEW"),
        ("j", " NEW", " -- NEW"),
        ("-j 4 -k", " -k NEW", " -k -- NEW"),
        ("kj 4", "k NEW", "k -- NEW"),
        ("--jobs=4 --jobs 4 --jobs --no-print-directory", " --no-print-directory NEW", None),
        ("-Ijunk -Oj", " -Ijunk -Oj NEW", None),
        ("A=jj", " A=jj NEW", " A=jj -- NEW"),
        (r"k -- A=b\ -j4 B=$$j", r"k NEW -- A=b\ -j4 B=$$j", r"k -- A=b\ -j4 B=$$j NEW"),
        (" -- -j4 --jobserver-auth=fifo:/old A=b", " NEW -- A=b", " -- A=b NEW"),
    ],
)
def test_all_but_jobs_and_jobserver_is_kept(
    flags: str, kept_open: str, kept_sheltered: str | None
) -> None:
    assert makeflags.with_jobserver(flags, words=["NEW"], sheltered=False) == kept_open
    if kept_sheltered is not None:
        assert makeflags.with_jobserver(flags, words=["NEW"], sheltered=True) == kept_sheltered


@pytest.mark.parametrize(
    ("programs", "flags"),
    [
        ({}, " -j2 {auth}"),
        ({"make": "GNU Make 4.4"}, " -j2 {auth}"),
        ({"make": "GNU Make 4.4.1", "gmake": "GNU Make 5.0"}, " -j2 {auth}"),
        ({"make": "GNU Make 4.3"}, " -- -j2 {auth}"),
        ({"gmake": "GNU Make 3.82"}, " -- -j2 {auth}"),
        ({"make": "another make"}, " -- -j2 {auth}"),
        ({"make": None}, " -- -j2 {auth}"),
        # The newer one would take a -j2 in this place for a target.
        ({"make": "GNU Make 4.4.1", "gmake": "GNU Make 4.3"}, " -- {auth}"),
    ],
)
def test_no_make_on_path_gets_flags_that_it_dies_of(
    programs: dict[str, str | None],
    flags: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, version in programs.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{version}'\n" if version else "#!/no/such/program\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MAKEFLAGS", "--jobserver-auth=fifo:/none")
    told = environment.tell_children(makeflags="", path="/f", jobs=2)
    auth = "--jobserver-auth=fifo:/f"
    assert told == {"MAKEFLAGS": flags.format(auth=auth), "CARGO_MAKEFLAGS": f"-j2 {auth}"}
