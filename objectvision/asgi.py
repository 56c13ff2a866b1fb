import gc
import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")
gc.disable()  # until the apps are loaded: garbage looked for meanwhile costs a sixth of the start
django.setup(set_prefix=False)
application = import_module("objectvision.server.application").application  # it needs the apps loaded
