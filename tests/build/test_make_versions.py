"""The makes on PATH decide which flags their children get."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_backend.jobserver import environment


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
