#!/usr/bin/env python
import gc
import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")
    gc.disable()  # until the apps are loaded: garbage looked for meanwhile costs a sixth of the start
    execute_from_command_line(sys.argv)
