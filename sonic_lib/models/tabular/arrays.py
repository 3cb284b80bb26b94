"""Serialise named arrays in NumPy's own format, and read them from untrusted bytes.

`numpy.load` would allocate whatever a header asks for and inflate compressed members.  Here an
array is a view of bytes that are really present.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_NAMES = "names"
# What zipfile and NumPy's header reader raise.
_FORMAT_ERRORS = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError),
    *(SyntaxError, tokenize.TokenError),
)
_KINDS = "fiubU"  # dtype kinds: numbers, booleans, text; never objects, which are pickled


def pack(arrays: Mapping[str, Any]) -> bytes:
    """Serialise arrays, numbers or strings by name."""
    members: dict[str, Any] = {f"a{place}": value for place, value in enumerate(arrays.values())}
    members[_NAMES] = np.frombuffer(json.dumps(list(arrays)).encode(), np.uint8)
    with io.BytesIO() as file:
        np.savez(file, **members)
        return file.getvalue()


def unpack(content: bytes) -> dict[str, NDArray]:
    """Read what `pack` wrote.

    Raises
    ------
    ValueError, LookupError, TypeError
        If it is anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = {info.filename: info for info in file.infolist()}
            if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
                raise ValueError("arrays are compressed")
            if sum(info.file_size for info in members.values()) > len(content):
                raise ValueError("arrays overlap, or are larger than their file")
            names = json.loads(_read(file, _NAMES).tobytes())
            return {str(name): _read(file, f"a{place}") for place, name in enumerate(names)}
    except _FORMAT_ERRORS as error:
        raise ValueError(f"not an archive of arrays ({error})") from error


def _read(file: zipfile.ZipFile, name: str) -> NDArray:
    content = file.read(f"{name}.npy")
    opened = io.BytesIO(content)
    if npy.read_magic(opened) != (1, 0):
        raise ValueError("an array in another version of NumPy's format")
    shape, is_fortran, kind = npy.read_array_header_1_0(opened)
    if kind.hasobject or kind.kind not in _KINDS or kind.fields:
        raise ValueError(f"an array of {kind}")
    flat = np.frombuffer(content, kind, offset=opened.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")
