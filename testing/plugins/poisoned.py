"""A Celery app whose decoder of JPEGs kills its process on a marked image, as a bug in a C library would."""

import os
import signal

import simplejpeg  # noqa: TID253  # it is patched here before the worker forks

from objectvision.celery import app

__all__ = ["POISON", "app"]

POISON = b"this image kills"
decode = simplejpeg.decode_jpeg


def deadly(data, *arguments, **options):
    if POISON in data:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, *arguments, **options)


simplejpeg.decode_jpeg = deadly
