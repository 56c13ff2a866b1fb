"""How gunicorn serves the API: it reads this file from the directory that it is started in.

Its own names hold besides: PORT binds to all addresses (unset: 127.0.0.1:8000), WEB_CONCURRENCY is the number
of processes (1), and the command line and GUNICORN_CMD_ARGS win over this file.
"""

import logging
import os
from typing import Any

from django.conf import settings
from uvicorn_worker import UvicornWorker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "objectvision.settings")

# Longer than proxies usually keep an idle connection, so that it is never we who close one still in use.
keepalive = 75
# Less than the 30 s after which orchestrators kill; requests that wait for a result end at once anyway.
graceful_timeout = 20

# gunicorn by itself believes the X-Forwarded-For of whoever connects from the same machine.
forwarded_allow_ips = ",".join(settings.TRUSTED_PROXIES)

# Nobody needs to know what serves.
UvicornWorker.CONFIG_KWARGS["server_header"] = False

accesslog = "-"
# It would put a socket into the home directory.
control_socket_disable = True


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001  # gunicorn's signature
    """Give the access log the form of the application's own, with the request's id, without query strings."""
    from objectvision.logs import RequestIdFilter, WithoutQueryFilter

    for handler in worker.log.access_log.handlers:
        handler.addFilter(RequestIdFilter())
        handler.addFilter(WithoutQueryFilter())
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
        )
