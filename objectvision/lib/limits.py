"""Limits that pass by themselves, as the domain states them.

The API answers 429 and 503.
"""

import errno

# What writing a file says where there is no place for it.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class TooMany(Exception):  # noqa: N818  # a limit, not a fault
    """The client has had its share, and may try again in `retry_after` seconds.

    The text is for the client.
    """

    def __init__(self, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Busy(Exception):  # noqa: N818  # as above
    """Others hold all that there is of something. The text is for the client."""
