"""Imports during requests. There is no library then, so a build keeps the code of what a request
may import: each module that the code of the program names in an `import`."""

import importlib.machinery
import importlib.util
import marshal
import os
import re
import sys

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]*))",
    re.MULTILINE,
)
_NAME = re.compile(r"\w+(\.\w+)*")
# Where the tool keeps modules of its own, and this package.
_LIBRARY = "/python"
_TOOL = ("/world/", "/bundled/", "/1/")
# Modules that are imported by names that no `import` has.
_ALWAYS = (
    "_strptime", "traceback", "linecache", "tokenize", "encodings.ascii", "encodings.latin_1",
    "encodings.iso8859_1", "encodings.iso8859_15", "encodings.cp1252", "encodings.cp437",
    "encodings.utf_8_sig", "encodings.utf_16", "encodings.utf_16_le", "encodings.utf_16_be",
    "encodings.utf_32", "encodings.idna", "encodings.punycode", "encodings.unicode_escape",
    "encodings.raw_unicode_escape", "encodings.base64_codec", "encodings.hex_codec",
    "encodings.zlib_codec",
)
# Modules whose code is compiled once for all programs, with those that they import.
_COMMON = (
    "argparse", "asyncio", "base64", "calendar", "configparser", "csv", "dataclasses", "datetime",
    "decimal", "fractions", "hashlib", "hmac", "html", "http.server", "ipaddress", "json", "logging.config",
    "logging.handlers", "pathlib", "pickle", "pprint", "queue", "random", "secrets", "shlex",
    "shutil", "statistics", "string", "tempfile", "textwrap", "typing", "unittest", "urllib.request",
    "uuid", "wsgiref.simple_server", "xml.etree.ElementTree", "xmlrpc.server", "zipfile", "zoneinfo",
)
# The header of a file of compiled code that is not compared with its source (PEP 552).
_HEADER = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
# Modules that CPython's own modules import in functions that no handler calls, such as their
# commands, or that cannot work in the sandbox. A program that names one of them has it.
_NOT_FOR_THE_LIBRARY = {
    "_android_support", "_apple_support", "_ios_support", "_osx_support", "_pydatetime",
    "_pydecimal", "_pyio", "_pylong", "_pyrepl", "antigravity", "argparse", "ast", "asyncio",
    "bdb", "bz2", "cProfile", "code", "compression", "concurrent", "ctypes", "curses", "doctest",
    "ensurepip", "getopt", "idlelib", "importlib.metadata", "importlib.readers",
    "importlib.resources", "inspect", "lib2to3", "lzma", "multiprocessing", "nturl2path",
    "ntpath", "optparse", "pdb", "pip", "pkg_resources", "pkgutil", "profile", "pydoc",
    "pydoc_data", "readline", "runpy", "setuptools", "shutil", "ssl", "subprocess", "sysconfig",
    "tarfile", "test", "this", "tkinter", "tracemalloc", "turtle", "turtledemo", "unittest",
    "venv", "webbrowser", "zipfile", "zipimport",
}
_MISSING = {
    "ssl": "there is no ssl in the sandbox: put a proxy for TLS in front of the server",
    "_ssl": "there is no ssl in the sandbox: put a proxy for TLS in front of the server",
    "ctypes": "there is no ctypes in the sandbox, which loads no native code",
    "_ctypes": "there is no ctypes in the sandbox, which loads no native code",
    "multiprocessing": "there are no processes in the sandbox: each request runs beside the "
    "others already",
    "fcntl": "there is no fcntl in the sandbox",
    "pwd": "the sandbox has no users",
    "grp": "the sandbox has no groups",
    "resource": "there is no resource in the sandbox: the host limits a request",
    "termios": "there are no terminals in the sandbox",
}

# The code of modules that are not imported yet: their marshalled code, file and search path.
_kept = {}


class Missing:
    """Finds no module, and says why there is none."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in _MISSING:
            raise ModuleNotFoundError(_MISSING[name], name=name)
        return None


class Kept:
    """Finds the modules whose code a build has kept."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        kept = _kept.get(name)
        if kept is None:
            return None
        _, file, search = kept
        spec = importlib.machinery.ModuleSpec(name, Kept, origin=file, is_package=bool(search))
        spec.has_location = True
        if search:
            spec.submodule_search_locations = list(search)
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(marshal.loads(_kept[module.__name__][0]), vars(module))


class Unknown:
    """Says why a module of the standard library is not there."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in sys.stdlib_module_names and not path:
            raise ModuleNotFoundError(
                f"No module named {name!r} in the component: the build kept the modules that the "
                "program names in an import. Import it at the top of the file",
                name=name,
            )
        return None


def copy(folder):
    """Copy CPython's library, which only the tool has, for later builds."""
    for path, _, names in os.walk(_LIBRARY):
        to = folder + path.removeprefix(_LIBRARY)
        os.mkdir(to)
        for name in names:
            with open(f"{path}/{name}", "rb") as read, open(f"{to}/{name}", "wb") as written:
                written.write(read.read())


def install():
    sys.meta_path.insert(0, Missing)


def compile_common():
    """Compile modules of the library into files, from which later builds take the code."""
    sys.path[:] = [_LIBRARY]
    _find([*_COMMON, *_named_in_loaded()])
    for code, file, _ in _kept.values():
        compiled = importlib.util.cache_from_source(file)
        os.makedirs(os.path.dirname(compiled), exist_ok=True)
        with open(compiled, "wb") as opened:
            opened.write(_HEADER + code)


def keep():
    """Keep the code of the modules that a request may import."""
    _find(_named_in_loaded())
    sys.meta_path.insert(1, Kept)
    sys.meta_path.append(Unknown)


def _named_in_loaded():
    """Return the names of the modules that a request may import, first of all."""
    queue = list(_ALWAYS)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        name = getattr(module, "__name__", "")
        if file and file.endswith(".py") and not file.startswith(_TOOL):
            package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
            queue += _named_in(_read(file), "" if name == "__main__" else package, file)
    return queue


def _find(queue):
    """Keep the code of these modules, and of those that they import."""
    done = set()
    while queue:
        name = queue.pop()
        if name not in done and name not in sys.modules:
            queue += _keep_module(name)
        done.add(name)


def _keep_module(name):
    """Keep the code of one module, and return the names that it imports."""
    parent = name.rpartition(".")[0]
    if parent and parent not in sys.modules and parent not in _kept:
        found = _keep_module(parent)
        if parent not in _kept:
            return found
    else:
        found = []
    if not parent:
        path = None
    elif parent in _kept:
        path = _kept[parent][2]
    else:
        path = getattr(sys.modules[parent], "__path__", None)
    if parent and not path:
        return found
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or not (spec.origin or "").endswith(".py"):
            return found
        source = _read(spec.origin)
        code = _compiled(source, spec.origin)
    except (OSError, SyntaxError, ValueError):
        return found
    search = list(spec.submodule_search_locations or ())
    _kept[name] = (code, spec.origin, search)
    return found + _named_in(source, name if search else parent, spec.origin)


def _compiled(source, file):
    """Return the marshalled code of a file, which has this source."""
    if file.startswith(f"{_LIBRARY}/"):
        try:
            with open(importlib.util.cache_from_source(file), "rb") as opened:
                compiled = opened.read()
        except OSError:
            compiled = b""
        if compiled.startswith(_HEADER):
            return compiled[len(_HEADER):]
    return marshal.dumps(compile(source, file, "exec", dont_inherit=True))


def _read(file):
    try:
        with open(file, "rb") as opened:
            return importlib.util.decode_source(opened.read())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def _named_in(source, package, file):
    """Return the names of the modules that a source imports."""
    left_out = _NOT_FOR_THE_LIBRARY if file.startswith("/python/") else ()
    names = []
    for match in _IMPORT.finditer(source):
        origin, imported, plain = match.groups()
        if plain is not None:
            names += [part.split()[0] for part in plain.split(",") if part.split()]
            continue
        if origin.startswith("."):
            dots = len(origin) - len(origin.lstrip("."))
            base = package.split(".")
            base = base[: len(base) - dots + 1] if package else []
            origin = ".".join([*base, *filter(None, [origin.lstrip(".")])])
        if not origin:
            continue
        names.append(origin)
        for part in re.sub(r"#[^\n]*", "", imported).strip("() \t\\").split(","):
            if part.split() and part.split()[0] != "*":
                names.append(f"{origin}.{part.split()[0]}")
    return [
        name
        for name in names
        if _NAME.fullmatch(name) and name not in left_out and name.partition(".")[0] not in left_out
    ]
