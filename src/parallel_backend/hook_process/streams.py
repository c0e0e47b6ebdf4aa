"""What a hook's process writes to a stream that the caller has replaced, relayed to that stream."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import Any

from parallel_backend.descriptors import Private

__all__ = ["Relay", "Sink", "flush", "is_inherited"]


class Sink:
    """A stream that the caller has replaced, as it takes bytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._target = getattr(sys, name)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> None:
        """Hand on what was written; no bytes: that was all."""
        text = self._decoder.decode(data, final=not data)
        # A stream that is closed or missing takes nothing, from the hook's print() as from here.
        if text and self._target is not None:
            with contextlib.suppress(ValueError):
                try:
                    self._target.write(text)
                except UnicodeEncodeError as error:
                    escaped = text.encode(error.encoding, "backslashreplace")
                    self._target.write(escaped.decode(error.encoding))


class Relay:
    """A pipe from the hook's process to a stream that the caller has replaced."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sink = Sink(name)
        inlet, outlet = os.pipe()
        self.inlet, self.outlet = Private(inlet), Private(outlet)

    def be_the_stream(self) -> None:
        """In the hook's process: put a stream that writes to the caller in place."""
        self.inlet.close()
        stream = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(self.outlet.number, "w")),
            "utf-8",
            "surrogateescape",
            line_buffering=True,
        )
        setattr(sys, self.name, stream)

    def be_the_reader(self) -> None:
        """In the caller: the other end is the hook's alone, so that its end can be seen."""
        self.outlet.close()

    def drain(self) -> None:
        """Hand on all that comes, up to the end of the stream, where reading blocks."""
        with contextlib.suppress(OSError):
            while data := os.read(self.inlet.number, 1 << 16):
                self._sink.feed(data)
            self._sink.feed(b"")

    def pump(self) -> bool:
        """Hand on what is there; false at the end of the stream."""
        while True:
            try:
                data = os.read(self.inlet.number, 1 << 16)
            except BlockingIOError:
                return True
            self._sink.feed(data)
            if not data:
                return False

    def close(self) -> None:
        """Close both ends, in the caller."""
        self.inlet.close()
        self.outlet.close()


def is_inherited(name: str, *, by_fork: bool) -> bool:
    """Whether the hook's process can write to this stream as the caller would: it is a file.

    A fork has whatever file the caller has; a fresh interpreter has the standard descriptors.
    """
    stream = getattr(sys, name)
    if not isinstance(stream, io.TextIOWrapper) or stream.closed:
        return False
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return False
    return by_fork or number == {"stdout": 1, "stderr": 2}[name]


def flush(stream: Any) -> None:
    """Flush a stream that may be missing, closed or broken."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
