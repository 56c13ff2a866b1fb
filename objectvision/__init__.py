import gc

gc.disable()  # until the apps are loaded: to look for garbage meanwhile costs a sixth of the start

from objectvision.celery import app as celery_app  # noqa: E402  # as above

__all__ = ["__version__", "celery_app"]
__version__ = "0.1.0"
