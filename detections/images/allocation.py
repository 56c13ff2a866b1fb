import ctypes
from functools import cache

MMAP_THRESHOLD, LARGE_BLOCK = -3, 1 << 20  # of glibc's mallopt; bytes


@cache
def return_large_blocks() -> None:
    """Make glibc return freed pixels, files and answers to the system at once.

    By itself it keeps freed blocks of up to 32 MB: hundreds of megabytes would stay with a process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not every C library has it
    if mallopt:
        mallopt(MMAP_THRESHOLD, LARGE_BLOCK)
