import time


def until(look, seconds=60, every=0.02):
    """What `look` returns as soon as it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(every)
    raise AssertionError(f"Not within {seconds} s: {look}")
