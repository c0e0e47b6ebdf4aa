"""MAKEFLAGS: what is read from it, and what children find in it."""

from __future__ import annotations

import pytest

from parallel_backend.jobserver import makeflags


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
