FROM python:3.12-slim AS build

# The CPU build of torch; `--build-arg TORCH_INDEX=` takes the package index's own build, with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=ultralytics
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /app
RUN python -m venv /venv
COPY requirements.lock ./
RUN test -z "$TORCH_INDEX" || test "$EXTRAS" != ultralytics || \
    /venv/bin/pip install -c requirements.lock --no-deps --index-url "$TORCH_INDEX" torch torchvision
# The package itself is empty: these name its dependencies and its version.
COPY pyproject.toml README.md ./
COPY objectvision/__init__.py objectvision/
RUN /venv/bin/pip install -c requirements.lock ".[$EXTRAS]"


FROM python:3.12-slim

ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DATA_DIR=/data PORT=8000
RUN useradd --uid 10001 --create-home objectvision \
    && install --directory --owner=objectvision --group=objectvision /data
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
USER 10001
VOLUME /data
EXPOSE 8000
# Asks for an allowed host; a redirect to HTTPS counts as an answer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "\
import http.client, os, sys; \
host = os.environ.get('ALLOWED_HOSTS', '').split(',')[0].strip().replace('*', '') or 'localhost'; \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); \
server.request('GET', '/health', headers={'Host': host}); \
sys.exit(server.getresponse().status >= 400)"]
CMD ["gunicorn", "objectvision.asgi:application", "-k", "uvicorn_worker.UvicornWorker"]
