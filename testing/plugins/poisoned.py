"""A Celery app whose image decoder kills its process on a marked image, as a bug in a C library would."""

import os
import signal

import cv2  # noqa: TID253  # it is patched here before the worker forks

from objectvision.celery import app

__all__ = ["POISON", "app"]

POISON = b"this image kills"
decode = cv2.imdecode


def deadly(data, flags):
    if POISON in bytes(data):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, flags)


cv2.imdecode = deadly
