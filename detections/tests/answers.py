from asgiref.sync import async_to_sync


@async_to_sync
async def content_of(response):
    """What a streamed answer has, as a server would read it."""
    assert response.status_code == 200, response.content
    return b"".join([piece async for piece in response])
