"""A peer as an HTTP server: LitServe around a library that predicts, with the defaults of both.

It stores nothing. It runs in the peer's own environment, so it imports nothing of the project.
"""

import argparse
import importlib
from io import BytesIO
from pathlib import Path
from typing import Any

import litserve
from fastapi import Request
from PIL import Image


class DetectAPI(litserve.LitAPI):  # type: ignore[misc]  # untyped here: it is installed for the peers alone
    """Boxes of the picture in the form's field `image`: corners in pixels, confidence, class id."""

    def __init__(self, library: str, model: Path) -> None:
        super().__init__()
        self.library, self.model = library, model

    def setup(self, device: str) -> None:  # noqa: ARG002  # LitServe's own interface
        module = importlib.import_module(self.library)
        self.find = getattr(module, f"find_{self.library}")(self.model)

    def decode_request(self, request: Request) -> Image.Image:
        picture: Any = request["image"]  # LitServe has parsed the form
        return Image.open(BytesIO(picture.file.read())).convert("RGB")

    def predict(self, image: Image.Image) -> list[list[float]]:
        boxes: list[list[float]] = self.find(image)
        return boxes

    def encode_response(self, boxes: list[list[float]]) -> dict[str, Any]:
        return {"boxes": boxes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", help="the module beside this one that loads the model")
    parser.add_argument("model", type=Path, help="an OpenVINO folder of ultralytics' export")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    server = litserve.LitServer(DetectAPI(arguments.library, arguments.model), accelerator="cpu")
    server.run(host="127.0.0.1", port=arguments.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
