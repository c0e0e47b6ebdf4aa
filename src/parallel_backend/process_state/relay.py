"""What a hook's process writes to a stream that the caller has replaced, carried to that stream."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import Any

__all__ = ["Relay", "flush", "is_inherited"]


class Relay:
    """Carries what the hook writes to a stream that the caller has replaced to that stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.target = getattr(sys, name)
        self.inlet, self.outlet = os.pipe()
        self.decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def be_the_stream(self) -> None:
        """In the hook's process: put a stream that writes to the caller in place."""
        os.close(self.inlet)
        raw = io.FileIO(self.outlet, "w")
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw), "utf-8", "surrogateescape", line_buffering=True
        )
        setattr(sys, self.name, stream)

    def be_the_reader(self) -> None:
        """In the caller: the other end is the hook's alone, so that its end can be seen."""
        os.close(self.outlet)
        self.outlet = -1
        os.set_blocking(self.inlet, False)

    def pump(self) -> bool:
        """Hand on what is there; false at the end of the stream."""
        while True:
            try:
                data = os.read(self.inlet, 1 << 16)
            except BlockingIOError:
                return True
            self.write(self.decoder.decode(data, final=not data))
            if not data:
                return False

    def write(self, text: str) -> None:
        # A stream that is closed or missing takes nothing, from the hook's print() as from here.
        if text and self.target is not None:
            with contextlib.suppress(ValueError):
                try:
                    self.target.write(text)
                except UnicodeEncodeError as error:
                    data = text.encode(error.encoding, "backslashreplace")
                    self.target.write(data.decode(error.encoding))

    def close(self) -> None:
        for descriptor in (self.inlet, self.outlet):
            if descriptor >= 0:
                os.close(descriptor)
        self.inlet = self.outlet = -1


def is_inherited(name: str) -> bool:
    """Whether a fork can write to this stream as the caller would: it is a file, not memory."""
    stream = getattr(sys, name)
    if not isinstance(stream, io.TextIOWrapper) or stream.closed:
        return False
    try:
        stream.fileno()
    except (OSError, ValueError):
        return False
    return True


def flush(stream: Any) -> None:
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
