import gc
import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")
gc.disable()  # again in gunicorn's workers; the apps enable it
django.setup(set_prefix=False)
application = import_module("objectvision.server.application").application  # it needs the apps loaded
