"""Declares the functions of the kernel's library."""

import ctypes
from ctypes import POINTER, c_int32, c_int64, c_uint64, c_void_p

from consentgate.kernel import structures as s
from consentgate.kernel.loading import load_library

_FUNCTIONS = {
    "cg_count_nulls": (c_int64, [POINTER(s.Validity), c_int64]),
    "cg_keys": (
        c_int32,
        [POINTER(s.Ids), POINTER(s.SecretWords), c_int64, c_int64, c_void_p],
    ),
    "cg_hashes": (
        c_int32,
        [POINTER(s.Ids), POINTER(s.SecretWords), c_int64, c_int64, c_void_p],
    ),
    "cg_fill": (
        c_int32,
        [
            *(POINTER(s.Table), c_void_p, c_void_p, c_int64, c_int64, c_uint64, c_uint64),
            *(c_void_p, c_void_p, c_void_p),
        ],
    ),
    "cg_fill_spilled": (
        c_int32,
        [POINTER(s.Table), c_void_p, c_void_p, c_int64, c_void_p, c_void_p],
    ),
    "cg_count": (c_int64, [POINTER(s.Table), c_uint64, c_uint64]),
    "cg_settle": (
        c_int32,
        [
            *(POINTER(s.Table), c_void_p, c_int64, c_uint64, c_uint64, c_uint64, c_void_p),
            *(POINTER(s.Moved), c_int64),
        ],
    ),
    "cg_resolve": (
        c_int32,
        [POINTER(s.Facts), POINTER(s.Ids), c_int64, c_int64, c_void_p, c_void_p, c_void_p],
    ),
    "cg_entries": (c_int64, [POINTER(s.Facts), c_uint64, c_uint64, c_void_p, c_int64]),
    "cg_judge": (
        c_int32,
        [POINTER(s.Messages), c_int64, c_int64, c_void_p, POINTER(c_int64)],
    ),
    "cg_hash_rows": (c_int32, [POINTER(s.Field), c_int64, c_int64, c_void_p]),
    "cg_measure_rows": (c_int32, [POINTER(s.Rows), c_int64, c_int64, c_void_p]),
    "cg_deal_rows": (
        c_int32,
        [POINTER(s.Rows), *(c_int64,) * 4, *(c_void_p,) * 4],
    ),
    "cg_order_bucket": (
        c_int64,
        [c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_void_p, c_int64],
    ),
}


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """A library, with the types of its functions. They run without the interpreter's lock."""
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


kernel = declared(load_library())
