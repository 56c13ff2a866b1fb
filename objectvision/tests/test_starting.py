import gc
import subprocess
import sys

from testing.services import ROOT

# Prints whether garbage is collected once a worker has started.
WORKER = """
import gc
from celery.signals import worker_ready
from objectvision.celery import app
def tell(**_):
    print(gc.isenabled(), gc.get_freeze_count() > 50_000, flush=True)
    raise SystemExit
worker_ready.connect(tell)
app.conf.broker_url = "memory://"
app.worker_main(["worker", "-P", "solo"])
"""


def test_garbage_is_collected_once_the_apps_are_loaded():
    assert gc.isenabled()
    assert gc.get_freeze_count() > 50_000  # what was loaded is not looked at again


def test_workers_collect_garbage():
    done = subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, capture_output=True, text=True)
    assert "True True\n" in done.stdout, done.stderr
