"""Standard output and standard error: the log of the host, or the output of a build."""

import io
import sys

from wit_world.imports import log

from .phase import Phase

# The most that a build keeps of the output of the file, in characters.
_MOST = 8192
# The longest line that is kept until its end comes, in bytes.
_LONGEST = 8192

_LEVELS = {
    "info": log.Level.INFO,
    "debug": log.Level.DEBUG,
    "warning": log.Level.WARNING,
    "error": log.Level.ERROR,
    "critical": log.Level.CRITICAL,
}


class Output(io.RawIOBase):
    """A stream whose lines have a level."""

    built = []

    def __init__(self):
        self.level = "info"
        self._line = bytearray()

    def writable(self):
        return True

    def fileno(self):
        raise io.UnsupportedOperation("fileno")

    def write(self, data):
        *lines, rest = bytes(data).split(b"\n")
        for line in lines:
            self._line += line
            self._end()
        self._line += rest
        if len(self._line) > _LONGEST:
            self._end()
        return len(data)

    def end(self):
        """End an unfinished line."""
        if self._line:
            self._end()

    def _end(self):
        line = self._line.decode("utf-8", "backslashreplace")
        self._line.clear()
        if not Phase.building:
            log.log(_LEVELS[self.level], line)
        elif sum(map(len, self.built)) < _MOST:
            self.built.append(line[:_MOST])


output, errors = Output(), Output()


class level:
    """Sets the level of what is written to standard error."""

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        self._before, errors.level = errors.level, self._name

    def __exit__(self, *_):
        errors.level = self._before


def install():
    def text(raw):
        return io.TextIOWrapper(
            raw, encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=True
        )

    sys.stdin = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sys.stdout = sys.__stdout__ = text(output)
    sys.stderr = sys.__stderr__ = text(errors)


def flush():
    for stream, raw in ((sys.stdout, output), (sys.stderr, errors)):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # The program replaced or closed the stream.
            pass
        raw.end()


def give_levels_to(logging):
    """Give the lines of `logging` the levels of their records."""
    emit = logging.StreamHandler.emit
    names = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"))

    def emit_with_level(self, record):
        name = next((name for number, name in names if record.levelno >= number), "debug")
        with level(name):
            emit(self, record)

    logging.StreamHandler.emit = emit_with_level
