"""Answers that are made or read while they are sent."""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from detections.rendering import FilePieces
from objectvision.lib import connections


class FileStream:
    """The blocks of an open file for a response, which closes it, sent or not."""

    def __init__(self, file: FilePieces) -> None:
        self.file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = self.file.blocks()
        try:
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                yield block
        finally:
            self.close()

    def close(self) -> None:
        self.file.close()


def stream_response(file: FilePieces, media_type: str, headers: Mapping[str, str]) -> StreamingHttpResponse:
    """The file as an answer with its length; it is closed once it is sent."""
    connections.give_back()  # a client that reads slowly holds none
    return StreamingHttpResponse(
        FileStream(file),
        content_type=media_type,
        headers={**headers, "Content-Length": str(file.length)},
    )


class RequestStream:
    """Pieces for a response, made in the request's thread without a connection held.

    The first is made at once: an answer that cannot be begun fails before the response begins.
    """

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self.pieces = pieces
        self.first = self.following()

    def following(self) -> bytes | None:
        try:
            return next(self.pieces, None)
        finally:
            connections.give_back()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        piece = self.first
        try:
            while piece is not None:
                yield piece
                piece = await sync_to_async(self.following)()
        finally:
            await sync_to_async(self.close)()

    def close(self) -> None:
        self.pieces.close()
        connections.give_back()
