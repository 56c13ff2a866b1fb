"""How Flower shows the workers: it reads this file from the directory that it is started in.

The command line wins over this file.
"""

from celery import current_app
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from flower.views.error import NotFoundErrorHandler
from flower.views.monitor import Metrics
from kombu import Queue

if not settings.FLOWER_PASSWORD:
    raise ImproperlyConfigured("Flower does not start without FLOWER_PASSWORD.")

basic_auth = [f"admin:{settings.FLOWER_PASSWORD}"]
address = "127.0.0.1"
read_only = True  # nothing is started, stopped or changed here
enable_events = False  # workers send them unasked, and listen to no request for them
max_tasks = 10_000  # shown at most; 3 kB each

# Workers do not answer, so Flower cannot ask them for their queues.
queues = {
    settings.CELERY_TASK_DEFAULT_QUEUE,
    *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values()),
}
current_app.conf.task_queues = [Queue(name) for name in sorted(queues)]

# It needs no password and names all workers and tasks; the system's own metrics are the web server's.
Metrics.get = NotFoundErrorHandler.get
