import pytest


@pytest.fixture
def console():
    """A browser, with a log-in of the user's where one is given: `console(user).get(…)`."""
    from django.http import HttpResponse
    from django.test import Client

    from accounts import browsers

    def client(user=None):
        client, response = Client(), HttpResponse()
        if user:
            browsers.log_in(response, user, "pytest")
        client.cookies.update(response.cookies)
        return client

    return client
