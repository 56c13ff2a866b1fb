"""How gunicorn serves the API: it reads this file from the directory that it is started in.

Its own names hold besides: PORT binds to all addresses (unset: 127.0.0.1:8000), WEB_CONCURRENCY is the number of
processes (1), and GUNICORN_CMD_ARGS and the command line win over this file.
"""

import os

wsgi_app = "objectvision.asgi:application"
worker_class = "uvicorn_worker.UvicornWorker"

# Longer than proxies usually keep an idle connection, so that it is never we who close one that they are using.
keepalive = 75
# Less than the 30 s that orchestrators wait before they kill; requests that wait for a result end at once anyway.
graceful_timeout = 20

# Unset, X-Forwarded-For and X-Forwarded-Proto are believed from nobody: gunicorn's own default believes whoever
# connects from the same machine. Name the proxies in front, by address or network.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "")

accesslog = "-"
# It would write a socket into the home directory.
control_socket_disable = True
