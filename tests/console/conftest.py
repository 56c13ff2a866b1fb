import pytest


@pytest.fixture
def stack(request):
    """`manage.py serve`, since most pages do not differ by form; `both_ways` gives both in turn."""
    return request.getfixturevalue(f"{getattr(request, 'param', 'embedded')}_stack")
