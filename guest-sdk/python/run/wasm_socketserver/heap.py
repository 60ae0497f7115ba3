"""The memory of the component, laid out so that a request writes to few places of it.

Each request has a copy of the memory. The kernel copies a page when the request writes to it for
the first time, and the host restores the pages that were written to. So a page costs far more
than what is written. CPython writes to nearly everything that it uses: it counts references in
each object, and takes small blocks from wherever one is free.
"""

import gc
import struct
import sys
import types
from itertools import chain, filterfalse


def _numbers(*kinds):
    """Return a set of types that can be searched without a call of code of the program."""
    return frozenset(map(id, kinds))


# Types whose objects a request seldom changes. An object of them that is freed runs no code.
_PLAIN = _numbers(
    str, bytes, int, float, complex, types.CodeType, types.BuiltinFunctionType,
    types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType,
    types.WrapperDescriptorType, types.ClassMethodDescriptorType, property, staticmethod,
    classmethod, types.FunctionType, types.ModuleType,
)
_CODE = (
    "co_consts", "co_names", "co_name", "co_qualname", "co_filename", "co_linetable",
    "co_exceptiontable",
)
# The bytes that an object of the type `bytes` has beside its content.
_HEADER = sys.getsizeof(b"")
# Sizes of blocks, in bytes. Blocks up to 512 bytes are found by their exact size.
_SIZES = (*range(512, 16, -8), *(1 << shift for shift in range(19, 9, -1)), 768, 640, 520, 512)
# The number of objects that are written together.
_BATCH = 256
# The most blocks that are filled.
_MOST = 100_000

# Types of what runs, and ends.
_RUNNING = _numbers(types.FrameType, types.GeneratorType, types.TracebackType)

_filled = []
_library = []


class _State:
    # The highest address that was in use.
    end = 0


def fill(size):
    """Use up the free blocks, so that what is allocated from now on lies together, in an area of
    `size` bytes at the end of the memory."""
    # The collector does not show what it has frozen.
    end = max(map(id, gc.get_objects()), default=0)
    end = max(end, _State.end)
    while True:
        # Larger than a free block, or else one of them.
        area = bytes(size)
        if id(area) > end:
            break
        _keep(area)
        end = max(end, id(area))
    end = _State.end = id(area)
    for block in _SIZES:
        while _keep(bytes(block - _HEADER)) < end:
            pass
    while _keep(object()) < end:
        pass


def _keep(block):
    if len(_filled) < _MOST:
        _filled.append(block)
        return id(block)
    return sys.maxsize


def keep_library():
    """Keep all objects that there are before the program runs: the library never frees them."""
    _library.extend(each for each in gc.get_objects() if id(type(each)) not in _RUNNING)


def write_objects(file):
    """Write the addresses of objects that are never to be freed, each with that of its type:
    those of the library, and of the program those that run no code when they are freed.

    Nothing is kept while they are found: it would be in the memory of the component. An address
    may occur more than once.
    """
    _write(file, [_filled])
    _write(file, _library)
    objects = gc.get_objects()
    for start in range(0, len(objects), _BATCH):
        batch = objects[start : start + _BATCH]
        _write(file, [each for each in batch if id(type(each)) in _PLAIN])
        _write(file, [each for each in batch if issubclass(type(each), type)])
        _write(file, [vars(each) for each in batch if type(each) is types.ModuleType])
        _write_plain(file, gc.get_referents(*batch))


def _write_plain(file, objects):
    """Write those that run no code when they are freed, with what the collector does not know."""
    _write(file, [each for each in objects if id(type(each)) in _PLAIN])
    for each in objects:
        if type(each) is types.CodeType:
            _write_plain(file, [getattr(each, name) for name in _CODE])
        elif type(each) is tuple and not gc.is_tracked(each):
            _write(file, [each])
            _write_plain(file, each)


def _write(file, objects):
    for start in range(0, len(objects), _BATCH):
        mortal = list(filterfalse(sys._is_immortal, objects[start : start + _BATCH]))
        pairs = chain.from_iterable(zip(map(id, mortal), map(id, map(type, mortal))))
        file.write(struct.pack(f"<{2 * len(mortal)}I", *pairs))


def move_code(packages):
    """Move the code of all functions of these packages to where memory is allocated now."""
    for each in gc.get_objects():
        if type(each) is types.FunctionType:
            module = each.__globals__.get("__name__") or ""
            if module.partition(".")[0] in packages:
                each.__code__ = each.__code__.replace()


def keep_frames():
    """Keep what the callers would free when they return."""
    frame = sys._getframe()
    while frame is not None:
        _filled.append((frame.f_code, list(frame.f_locals.values())))
        frame = frame.f_back
