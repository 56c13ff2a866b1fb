import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")
django.setup(set_prefix=False)
application = import_module("objectvision.server.application").application  # it needs the apps loaded
