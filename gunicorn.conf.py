"""How gunicorn serves the API: it reads this file from the directory that it is started in.

Its own names hold besides: PORT binds to all addresses (unset: 127.0.0.1:8000), WEB_CONCURRENCY is the number
of processes (1), and the command line and GUNICORN_CMD_ARGS win over this file.
"""

import os
from typing import Any

from django.conf import settings
from uvicorn_worker import UvicornWorker

from objectvision.lib import logs
from objectvision.server.protocol import SOCKET_OPTIONS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")

# Longer than proxies usually keep an idle connection, so that the proxy closes it first.
keepalive = 75
# Less than the 30 s after which orchestrators kill; requests that wait for a result end at once anyway.
graceful_timeout = 20

# By default gunicorn trusts X-Forwarded-For from the same machine.
forwarded_allow_ips = ",".join(settings.TRUSTED_PROXIES)

UvicornWorker.CONFIG_KWARGS |= {
    "http": "objectvision.server.protocol:Protocol",
    **SOCKET_OPTIONS,
    "server_header": False,
    "access_log": False,  # the application writes a line for each request
}

# It would put a socket into the home directory.
control_socket_disable = True

# Its lines have the form of the application's, from its first one on.
logconfig_dict = settings.LOGGING


def on_starting(_server: Any) -> None:
    logs.take_over_output()


def post_worker_init(_worker: Any) -> None:
    """Again: Django has set its logging up anew."""
    logs.take_over_output()
