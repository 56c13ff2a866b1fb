import gc


def test_garbage_is_collected_once_the_apps_are_loaded():
    assert gc.isenabled()
    assert gc.get_freeze_count() > 50_000  # what was loaded is not looked at again
