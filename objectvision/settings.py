"""One settings file for every way to run; the environment decides (see `.env.example`)."""

import fcntl
import os
import secrets
from datetime import timedelta
from email.utils import formataddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from objectvision import __version__
from objectvision.lib import env
from objectvision.lib.logs import JSON, LINE

BASE_DIR = Path(__file__).resolve().parent.parent

# Real variables win over `.env.<ENVIRONMENT>`, and that wins over `.env`, which may say what ENVIRONMENT is.
really_set = dict(os.environ)
for dotenv in (".env", ".env.{ENVIRONMENT}"):
    ENVIRONMENT = env.choice("ENVIRONMENT", "development", ("development", "staging", "production"))
    file = BASE_DIR / dotenv.format(ENVIRONMENT=ENVIRONMENT)
    if file.is_file():
        environ.Env.read_env(file, overwrite=True)
    os.environ.update(really_set)

DEPLOYED = ENVIRONMENT != "development"
DEBUG = False  # errors keep the API's form everywhere; the log has the traceback

DATA_DIR = BASE_DIR / env.text("DATA_DIR", "var")
MEDIA_ROOT = DATA_DIR / "media"
DETECTORS_DIR = DATA_DIR / "detectors"
# On the file system of the media, so that saving a large upload is a rename.
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "uploads"
STATIC_ROOT = DATA_DIR / "static"
METRICS_DIR = DATA_DIR / "metrics"
for folder in (MEDIA_ROOT, DETECTORS_DIR, FILE_UPLOAD_TEMP_DIR, STATIC_ROOT):
    folder.mkdir(parents=True, exist_ok=True)

# --- Secrets and hosts ---------------------------------------------------------------------------

EXAMPLE_SECRETS = frozenset(
    {"change-me-to-a-long-random-string-of-characters", "change-me-too-to-another-long-random-string"}
)
SECRET_LENGTH = 32


def generated_secret(name: str) -> str:
    """A secret of this data folder's own, made once: development needs none configured."""
    file = DATA_DIR / f".{name.lower()}"
    if file.is_file() and (known := file.read_text()):
        return known
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as new:
        # Until it is closed: of processes that start at once, the others find what the first has written.
        fcntl.flock(new, fcntl.LOCK_EX)
        value = new.read() or secrets.token_urlsafe(48)
        new.seek(0)
        new.write(value)
    return value


def secret(name: str) -> str:
    value = env.text(name)
    if value and DEPLOYED and (len(value) < SECRET_LENGTH or value in EXAMPLE_SECRETS):
        raise ImproperlyConfigured(
            f"{name} must have at least {SECRET_LENGTH} characters and not be the example's."
        )
    return value or ("" if DEPLOYED else generated_secret(name))


def previous_secrets(name: str) -> list[str]:
    found = env.listing(name)
    if any(len(value) < SECRET_LENGTH for value in found):
        raise ImproperlyConfigured(
            f"{name} must be keys of at least {SECRET_LENGTH} characters, separated by commas."
        )
    return found


SECRET_KEY = secret("SECRET_KEY")
JWT_SECRET_KEY = secret("JWT_SECRET_KEY")
# Tokens that these keys signed stay valid until they expire, so that a new key logs no user out.
JWT_PREVIOUS_SECRET_KEYS = previous_secrets("JWT_PREVIOUS_SECRET_KEYS")
SECRET_KEY_FALLBACKS = previous_secrets("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env.listing("ALLOWED_HOSTS", () if DEPLOYED else ("localhost", "127.0.0.1", "[::1]"))
API_BASE_URL = env.url("API_BASE_URL")


def public_url() -> str:
    """The base of links in mails. Never from the Host header, which any client may set."""
    named = (host for host in ALLOWED_HOSTS if not host.startswith(("*", ".")))
    deployed = next((f"https://{host}" for host in named), "")
    return API_BASE_URL or (deployed if DEPLOYED else "http://localhost:8000")


PUBLIC_URL = public_url()
# Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted: addresses or networks; none by default.
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
CORS_ALLOWED_ORIGINS = env.origins("CORS_ALLOWED_ORIGINS")
CORS_ALLOW_HEADERS = [
    "authorization", "content-type", "idempotency-key", "if-none-match", "last-event-id", "prefer",
    "x-api-key", "x-request-id",
]  # fmt: skip  # a list to read at a glance
CORS_EXPOSE_HEADERS = [
    "content-disposition", "etag", "location", "retry-after", "x-process-time", "x-request-id",
]  # fmt: skip  # as above
CORS_URLS_REGEX = r"^/(api/v1/|openapi\.json$)"

# --- Database ------------------------------------------------------------------------------------


def postgresql() -> dict[str, Any]:
    parts: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": env.text("DB_HOST"),
        "PORT": env.integer("DB_PORT", 5432, low=1, high=65535),
        "USER": env.text("DB_USER", "objectvision"),
        "NAME": env.text("DB_NAME", "objectvision"),
        "PASSWORD": env.text("DB_PASSWORD"),
    }
    url = env.url("DATABASE_URL", schemes=("postgres", "postgresql"))
    if not url:
        return parts
    parsed = environ.Env.db_url_config(url)
    return {**parts, **parsed, "HOST": unquote(parsed["HOST"])}  # a socket's folder has slashes


def sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "objectvision.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


DATABASE = postgresql()
if DATABASE["HOST"] or DATABASE.get("OPTIONS"):
    # Requests run in threads of their own, so connections outlive them in a pool. Workers keep one instead.
    pool = {"min_size": 1, "max_size": env.integer("DB_POOL_SIZE", 16, low=1), "timeout": 5}
    # A side that has vanished is given up after 20 s by the other, not after hours (decision 17).
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 20_000}
    served: dict[str, Any] = {f"tcp_{name.removeprefix('tcp_')}": value for name, value in alive.items()}
    served["idle_in_transaction_session_timeout"] = 60_000
    served["jit"] = "off"  # compiling took half of a search's time, for each statement anew
    served["random_page_cost"] = 1.1  # of an SSD: PostgreSQL would rather scan all rows than an index
    limits = {
        "connect_timeout": 5,
        **alive,
        "options": " ".join(f"-c {name}={value}" for name, value in served.items()),
    }
    DATABASE["OPTIONS"] = {"pool": pool, **limits, **DATABASE.get("OPTIONS", {})}
    HAS_DATABASE = True
else:
    env.names.add("DB_POOL_SIZE")
    DATABASE = sqlite()
    HAS_DATABASE = False
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: broker, cache, wake-ups ---------------------------------------------------------------


def redis_url() -> str:
    host = env.text("REDIS_HOST")
    port = env.integer("REDIS_PORT", 6379, low=1, high=65535)
    return env.url(
        "REDIS_URL", f"redis://{host}:{port}/0" if host else "", schemes=("redis", "rediss", "unix")
    )


def cache_of(name: str, *, entries: int, ignores_outages: bool) -> dict[str, Any]:
    """A cache whose keys begin with this name. `entries` is the most that it keeps without Redis."""
    if not REDIS_URL:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": name,
            "OPTIONS": {"MAX_ENTRIES": entries},
        }
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": name,
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 1,
            "SOCKET_TIMEOUT": 1,
            "IGNORE_EXCEPTIONS": ignores_outages,
        },
    }


REDIS_URL = redis_url()
CACHES = {
    # The default of 300 would evict counters that limits rest on. A cache that is away is an empty one.
    "default": cache_of("", entries=100_000, ignores_outages=True),
    # `detections.caching` has to know of an outage.
    "answers": cache_of("answers", entries=1000, ignores_outages=False),
}

DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True

CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    # One short try: an upload does not wait for a broker that is away. The sweep rings again.
    {"socket_connect_timeout": 1, "socket_timeout": 2, "max_retries": 0} if REDIS_URL else {}
)
CELERY_BROKER_TRANSPORT = None if REDIS_URL else "objectvision.server.local_broker:Transport"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker outlives any outage of its broker
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # and a Redis that refuses writes
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "detections.process_images": {"queue": "inference"},
    "notifications.send_webhooks": {"queue": "webhooks"},
}
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]  # unpickling would run code
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
FLOWER_PASSWORD = env.password("FLOWER_PASSWORD")
CELERY_WORKER_SEND_TASK_EVENTS = bool(REDIS_URL and FLOWER_PASSWORD)  # a millisecond an upload
CELERY_DB_REUSE_MAX = 2**31  # Celery would close the worker's connection after every task
CELERY_BEAT_SCHEDULER = "objectvision.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep": {"task": "detections.sweep", "schedule": timedelta(seconds=10)},
    "retention": {"task": "detections.delete_expired", "schedule": timedelta(hours=1)},
    "forget": {"task": "accounts.forget", "schedule": timedelta(hours=1)},
    "sweep mails": {"task": "notifications.sweep", "schedule": timedelta(seconds=10)},
    "forget mails": {"task": "notifications.forget", "schedule": timedelta(hours=1)},
}
for entry in CELERY_BEAT_SCHEDULE.values():  # beat resets its rows to these values when it starts
    entry.update(enabled=True, one_off=False, start_time=None, expires=None)


# --- Application ---------------------------------------------------------------------------------

INSTALLED_APPS = [
    "objectvision",
    "accounts",
    "detections",
    "notifications",
    "console",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "django_filters",
    "django_celery_beat",
    "anymail",
    "corsheaders",
    "csp",
    "objectvision.apps.StaffAdminConfig",  # django.contrib.admin with a site of its own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "objectvision.middleware.AnswerMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "objectvision.middleware.GZipMiddleware",
    "objectvision.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "objectvision.urls"
ASGI_APPLICATION = "objectvision.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
# Set-up collects and compresses them in STATIC_ROOT; before, they are served as the packages have them.
WHITENOISE_USE_FINDERS = not any(STATIC_ROOT.iterdir())
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ("png", "woff", "woff2", "map")  # maps are for debuggers alone
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": MEDIA_ROOT},
    },
    "staticfiles": {"BACKEND": "objectvision.static_files.VersionedStorage"},
}
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

PASSWORD_RESET_TIMEOUT = 60 * 60
VERIFICATION_DAYS = 3
REQUIRE_VERIFIED_EMAIL = env.flag("REQUIRE_VERIFIED_EMAIL", default=False)

SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", default=False)
SECURE_REDIRECT_EXEMPT = [r"^(api/v1/)?health", r"^metrics$"]  # probes come from inside, by plain HTTP
# Browsers that came by HTTPS once use nothing else for a year.
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 31_536_000 if SECURE_SSL_REDIRECT else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # whether other hosts of the domain speak HTTPS is the operator's decision
    "security.W008",  # objectvision.W002 says it, and that a proxy may redirect
    "security.W021",  # preloading binds the whole domain for months: the operator's decision
]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# For all responses; the documentation pages add to it (`pages`).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
# Cookies of the admin and the console. No other host of the domain can set one of such a name.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = DEPLOYED
COOKIE_PREFIX = "__Host-" if DEPLOYED else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}sessionid", f"{COOKIE_PREFIX}csrftoken"
CONSOLE_COOKIE_NAME = f"{COOKIE_PREFIX}console"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 60 * 60 * 12
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "console.errors.csrf_failed"
CSRF_TRUSTED_ORIGINS = ["{0.scheme}://{0.netloc}".format(urlsplit(PUBLIC_URL))] if PUBLIC_URL else []

# --- Mail ----------------------------------------------------------------------------------------

BREVO_API_KEY = env.text("BREVO_API_KEY")
EMAIL_BACKEND = (
    "anymail.backends.brevo.EmailBackend" if BREVO_API_KEY else "notifications.mail.console.EmailBackend"
)
ANYMAIL = {
    "BREVO_API_KEY": BREVO_API_KEY,
    # The whole endpoint or, as anymail wants it, its base.
    "BREVO_API_URL": env.url("BREVO_API_URL", "https://api.brevo.com/v3/smtp/email")
    .rstrip("/")
    .removesuffix("/smtp/email"),
    "REQUESTS_TIMEOUT": (5, 10),  # seconds, to connect and to answer
}
COMPANY_NAME = env.line("COMPANY_NAME", "ObjectVision")
EMAIL_SENDER = env.address("EMAIL_SENDER")
EMAIL_SENDER_NAME = env.line("EMAIL_SENDER_NAME", COMPANY_NAME)
DEFAULT_FROM_EMAIL = formataddr((EMAIL_SENDER_NAME, EMAIL_SENDER or "no-reply@localhost"))
FRONTEND_BASE_URL = env.url("FRONTEND_BASE_URL")
FRONTEND_SUCCESS_URL = env.url("FRONTEND_SUCCESS_URL")
FRONTEND_ERROR_URL = env.url("FRONTEND_ERROR_URL")

# --- Webhooks ------------------------------------------------------------------------------------

# Whether receivers may have addresses that are not public, such as those of the own network.
WEBHOOK_ALLOW_PRIVATE = env.flag("WEBHOOK_ALLOW_PRIVATE", default=False)

# --- Public results ------------------------------------------------------------------------------

# Whether staff look at what users publish before others see it.
MODERATION_REQUIRED = env.flag("MODERATION_REQUIRED", default=True)
# Sites that may show pages of public and shared results in a frame.
EMBED_ALLOWED_ORIGINS = env.origins("EMBED_ALLOWED_ORIGINS")

# --- Uploads and detection -----------------------------------------------------------------------

MAX_UPLOAD_MB = env.integer("MAX_UPLOAD_MB", 20, low=1)
MAX_REQUEST_MB = env.integer("MAX_REQUEST_MB", 250, low=1)
MAX_IMAGE_PIXELS = env.integer("MAX_IMAGE_PIXELS", 50_000_000, low=1)
# Form fields and JSON bodies, without files.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20

# The only paths that take large bodies.
UPLOAD_PATHS = frozenset({"/api/v1/detect/image", "/api/v1/detect/batch"})
MAX_EXPORT_MB = env.integer("MAX_EXPORT_MB", 10_000, low=1)
MAX_WAITING_IMAGES_PER_USER = env.integer("MAX_WAITING_IMAGES_PER_USER", 1000, low=1)
# A batch has up to 100 images; Django refuses requests with more files than this.
DATA_UPLOAD_MAX_NUMBER_FILES = 110

MODEL_PATH = env.text("MODEL_PATH")
CONFIDENCE_THRESHOLD = env.fraction("CONFIDENCE_THRESHOLD", 0.25)
DECODE_REDUCED = env.flag("DECODE_REDUCED", default=False)
CLAIM_LEASE_SECONDS = env.integer("CLAIM_LEASE_SECONDS", 60, low=1)

# --- API -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.SessionTokenAuthentication",  # the first: its challenge is the 401's
        "accounts.api.authentication.ApiKeyAuthentication",
        "accounts.api.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.MayCall"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["objectvision.api.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "objectvision.api.schema.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": [
        "objectvision.api.throttles.AnonThrottle",
        "objectvision.api.throttles.ReadThrottle",
    ],
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Of requests. What waits to be processed is limited by images.
THROTTLES = {
    "upload": env.rate("THROTTLE_UPLOAD", "1200/min"),
    "read": env.rate("THROTTLE_READ", "3000/min"),
    "takeout": env.rate("THROTTLE_TAKEOUT", "10/hour"),
    "webhook": env.rate("THROTTLE_WEBHOOK", "60/min"),
    "anon": env.rate("THROTTLE_ANON", "120/min"),
    "login": env.rate("THROTTLE_LOGIN", "30/min"),
    "signup": env.rate("THROTTLE_SIGNUP", "30/hour"),
    "reset": env.rate("THROTTLE_RESET", "10/hour"),
    "verify": env.rate("THROTTLE_VERIFY", "10/hour"),
    "refresh": env.rate("THROTTLE_REFRESH", "60/min"),
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "objectvision.api.errors.ExceptionHandler",
    "ALLOWED_ERROR_STATUS_CODES": [
        str(code) for code in (400, 401, 403, 404, 405, 413, 415, 429, 431, 500, 503)
    ],
    "ERROR_SCHEMAS": {
        "413": "objectvision.api.schema.ClientErrorSerializer",
        "431": "objectvision.api.schema.ClientErrorSerializer",
        "503": "objectvision.api.schema.UnavailableSerializer",
    },
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ObjectVision",
    "DESCRIPTION": "Images in, detections out.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PREPROCESSING_HOOKS": ["objectvision.api.schema.api_only"],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": f"{STATIC_URL}objectvision/favicon.svg",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "DetectionStatusEnum": "detections.models.Detection.Status",
        "ImageStateEnum": "detections.models.DetectionImage.State",
        "DeliveryStateEnum": "notifications.models.WebhookDelivery.State",
        "HealthStatusEnum": ["ok", "error"],
        "ValidationErrorEnum": "drf_standardized_errors.openapi_serializers.ValidationErrorEnum.choices",
        "ClientErrorEnum": "drf_standardized_errors.openapi_serializers.ClientErrorEnum.choices",
        "ServerErrorEnum": "drf_standardized_errors.openapi_serializers.ServerErrorEnum.choices",
        "ErrorCode401Enum": "drf_standardized_errors.openapi_serializers.ErrorCode401Enum.choices",
        "ErrorCode403Enum": "drf_standardized_errors.openapi_serializers.ErrorCode403Enum.choices",
        "ErrorCode404Enum": "drf_standardized_errors.openapi_serializers.ErrorCode404Enum.choices",
        "ErrorCode405Enum": "drf_standardized_errors.openapi_serializers.ErrorCode405Enum.choices",
        "ErrorCode415Enum": "drf_standardized_errors.openapi_serializers.ErrorCode415Enum.choices",
        "ErrorCode429Enum": "drf_standardized_errors.openapi_serializers.ErrorCode429Enum.choices",
        "ErrorCode500Enum": "drf_standardized_errors.openapi_serializers.ErrorCode500Enum.choices",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_standardized_errors.openapi_hooks.postprocess_schema_enums",
        "objectvision.api.schema.declare_refused_forms",
        "objectvision.api.schema.share_name_errors",
        "objectvision.api.schema.close_request_bodies",
    ],
}

ACCESS_TOKEN_MINUTES = env.integer("ACCESS_TOKEN_EXPIRE_MINUTES", 30, low=1, high=525_600)
REFRESH_TOKEN_DAYS = env.integer("REFRESH_TOKEN_EXPIRE_DAYS", 7, low=1, high=3650)
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=ACCESS_TOKEN_MINUTES),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=REFRESH_TOKEN_DAYS),
    "ALGORITHM": env.choice("JWT_ALGORITHM", "HS256", ("HS256", "HS384", "HS512")),
    "SIGNING_KEY": JWT_SECRET_KEY,
    "AUTH_TOKEN_CLASSES": ("accounts.tokens.AccessToken",),
    "ISSUER": "objectvision",
    "AUDIENCE": "objectvision",
    "USER_ID_CLAIM": "user_id",
    "CHECK_REVOKE_TOKEN": False,  # the session's row decides, read with the user
}

# --- Metrics -------------------------------------------------------------------------------------

METRICS_TOKEN = env.password("METRICS_TOKEN")
METRICS_ALLOWED_NETWORKS = env.networks("METRICS_ALLOWED_NETWORKS")
# Without either, `/metrics` is closed, and nothing is recorded.
HAS_METRICS = bool(METRICS_TOKEN or METRICS_ALLOWED_NETWORKS)

# --- Traces --------------------------------------------------------------------------------------

# The SDK reads this variable and its others by itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.url("OTEL_EXPORTER_OTLP_ENDPOINT")

# --- Log -----------------------------------------------------------------------------------------

# Errors are sent there.
SENTRY_DSN = env.url("SENTRY_DSN")
LOG_FORMAT = env.choice("LOG_FORMAT", JSON if DEPLOYED else LINE, (JSON, LINE))
LOG_FILE = env.file("LOG_FILE", BASE_DIR)
LOG_HANDLERS: dict[str, dict[str, Any]] = {
    "console": {"class": "logging.StreamHandler", "formatter": "lines"},
}
log_file = {
    "class": "concurrent_log_handler.ConcurrentRotatingFileHandler",  # all processes write the one file
    "formatter": "lines",
    "filename": LOG_FILE,
    "maxBytes": env.integer("LOG_FILE_MB", 100, low=1) << 20,
    "backupCount": env.integer("LOG_FILE_BACKUPS", 10, low=1),
    "encoding": "utf-8",
}
if LOG_FILE:
    LOG_HANDLERS["file"] = log_file
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "once_a_minute": {"()": "objectvision.lib.logs.OnceAMinuteFilter"},
        "without_tokens": {"()": "objectvision.lib.logs.TokenFilter"},
    },
    "formatters": {"lines": {"()": "objectvision.lib.logs.formatter", "form": LOG_FORMAT}},
    "handlers": LOG_HANDLERS,
    "root": {
        "handlers": [*LOG_HANDLERS],
        "level": env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
    },
    "loggers": {
        # The servers' own handlers write another form.
        **{name: {"handlers": [], "propagate": True} for name in ("gunicorn.error", "uvicorn.error")},
        # Django logs every 4xx as a warning; the lines of requests have them already.
        "django.request": {"level": "ERROR", "filters": ["without_tokens"]},
        "django.security.csrf": {"filters": ["without_tokens"]},
        # Any client can send a wrong Host header.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # Without its cache every request would log a traceback.
        "django_redis.cache": {"filters": ["once_a_minute"]},
        "detections.caching": {"filters": ["once_a_minute"]},
        # A collector that is away; and what is dropped meanwhile.
        "opentelemetry.exporter.otlp.proto.http.trace_exporter": {"filters": ["once_a_minute"]},
        "opentelemetry.sdk._shared_internal": {"filters": ["once_a_minute"]},
        # Each statement that was shortened.
        "opentelemetry.attributes": {"level": "ERROR"},
        # One line a message, which says nothing about the work.
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        # Each socket that opens and closes.
        "websockets": {"level": "WARNING"},
        # The owner is told about a bad upload; debug lines would hold the metadata of pictures.
        "PIL": {"level": "CRITICAL"},
    },
}

# --- Refusal to start ----------------------------------------------------------------------------

if BREVO_API_KEY and not EMAIL_SENDER:
    raise ImproperlyConfigured("BREVO_API_KEY needs EMAIL_SENDER, an address that Brevo knows as a sender.")
if DEPLOYED:
    needed = {
        "SECRET_KEY": SECRET_KEY,
        "JWT_SECRET_KEY": JWT_SECRET_KEY,
        "ALLOWED_HOSTS": ALLOWED_HOSTS,
        "DB_HOST or DATABASE_URL": HAS_DATABASE,
        "REDIS_HOST or REDIS_URL": REDIS_URL,
        "API_BASE_URL, as ALLOWED_HOSTS names no host": PUBLIC_URL or not ALLOWED_HOSTS,
    }
    if missing := [name for name, value in needed.items() if not value]:
        raise ImproperlyConfigured(f"{ENVIRONMENT} does not start without {', '.join(missing)}.")
