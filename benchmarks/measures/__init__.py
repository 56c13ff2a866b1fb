"""What can be measured, by the name for the command line."""

from benchmarks.figures import Measure
from benchmarks.measures.capacity import CAPACITY
from benchmarks.measures.console import FIRST_RESULT
from benchmarks.measures.costs import CPU, EXPORT, START, STATEMENTS
from benchmarks.measures.pages import HISTORY, JOB_STATUS
from benchmarks.measures.speed import BATCH, EMBEDDED, LARGE, SINGLE, WORKERS

MEASURES: dict[str, Measure] = {
    "batch": BATCH,
    "single": SINGLE,
    "large": LARGE,
    "statements": STATEMENTS,
    "cpu": CPU,
    "capacity": CAPACITY,
    "embedded": EMBEDDED,
    "workers": WORKERS,
    "history": HISTORY,
    "job_status": JOB_STATUS,
    "export": EXPORT,
    "start": START,
    "console": FIRST_RESULT,
}
