from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, ClassVar, Self
from uuid import UUID

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from uuid_utils.compat import uuid7

from objectvision.lib import rows
from objectvision.lib.addresses import as_stored, normalised

USER_AGENT_LENGTH = 200
KEY_NAME_LENGTH = 100
LONGEST_RETENTION_DAYS = 3650


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=normalised(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=as_stored(username or ""))

    def end_all_sessions(self, users: models.QuerySet["User"]) -> int:
        """End their sessions of the API and of the admin. How many of the API's were not over yet."""
        users.update(sessions_ended_at=timezone.now())
        return Session.objects.filter(user__in=users).revoke()


class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    email_verified_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since then its rows and files are being erased."
    )
    sessions_ended_at = models.DateTimeField(
        null=True, editable=False, help_text="When all sessions were ended at once, those of the admin too."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    has_unsaved_password = False

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [
            # `save` lowers the address; this holds for statements that bypass `save`.
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")), name="accounts_user_email_lower"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["closed_at"], condition=~models.Q(closed_at=None), name="accounts_user_closed"
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        try:
            self.email = normalised(self.email)
        except ValidationError as error:
            raise ValidationError({"email": error}) from error

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password)
        self.has_unsaved_password = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A new password (of `changepassword`) is written without the other fields, and ends all sessions.

        Raises DatabaseError if the row was erased meanwhile, ValidationError if the address is not valid.
        """
        has_new_password = self.has_unsaved_password and not self._state.adding
        if has_new_password and kwargs.get("update_fields") is None:
            # The other values may be stale: a deactivation would be undone.
            kwargs["update_fields"] = ["password", "updated_at"]
        if kwargs.get("update_fields") is None or "email" in kwargs["update_fields"]:
            self.email = normalised(self.email)
        if not self._state.adding:
            kwargs["force_update"] = True
        with transaction.atomic():
            super().save(*args, **kwargs)
            if has_new_password:
                Session.objects.filter(user=self).revoke()
        self.has_unsaved_password = False

    def rename(self, name: str) -> None:
        """Save the name alone: the other values may be stale."""
        self.name = name
        self.save(update_fields=["name", "updated_at"])

    @contextmanager
    def locked(self, by: "Session | ApiKey | None" = None) -> Iterator["User"]:
        """This user's row, locked to the end of the block. `by` is the credential of the request, if any.

        Resets, changes of the password and closing the account end credentials under the same lock.
        Raises AuthenticationFailed if `by` has ended, or the row is gone.
        """
        with transaction.atomic():
            # FOR NO KEY UPDATE: other transactions may insert rows that refer to the user.
            row = User.objects.select_for_update(no_key=True).filter(pk=self.pk).first()
            if row is None or not (by is None or by.is_alive()):
                raise AuthenticationFailed("The session or the API key has ended.")
            yield row

    def check_password(self, raw_password: str | None) -> bool:
        """Hashes it again if the hasher has changed, unless the password is replaced meanwhile."""

        def upgrade(raw_password: str) -> None:
            hashed = make_password(raw_password)
            if User.objects.filter(pk=self.pk, password=self.password).update(password=hashed):
                self.password = hashed

        return check_password(raw_password, self.password, upgrade)

    def get_session_auth_hash(self) -> str:
        """Changes with the password and when all sessions are ended, which ends those of the admin."""
        return f"{super().get_session_auth_hash()} {self.sessions_ended_at}"

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        for fallback in super().get_session_auth_fallback_hash():
            yield f"{fallback} {self.sessions_ended_at}"

    @property
    def preferences(self) -> "UserSettings":
        """The user's settings, or the defaults, unsaved, if there is no row."""
        try:
            return self.settings
        except UserSettings.DoesNotExist:
            return UserSettings(user=self)


class UserSettingsQuerySet(models.QuerySet["UserSettings"]):
    def retentions(self) -> list[int]:
        """The distinct `retention_days` of all users, ascending."""
        limited = self.exclude(retention_days=None).order_by("retention_days")
        return [days for days in limited.values_list("retention_days", flat=True).distinct() if days]


class UserSettings(models.Model):
    """A user's choices. There is no row before the first one."""

    class Theme(models.TextChoices):
        SYSTEM = "system"
        LIGHT = "light"
        DARK = "dark"

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="settings")
    theme = models.CharField(max_length=10, choices=Theme, default=Theme.SYSTEM)
    notifications = models.BooleanField(default=True)
    default_confidence = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)]
    )
    default_classes = models.JSONField(default=list, blank=True, help_text="Names; empty: all of them.")
    retention_days = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_RETENTION_DAYS)]
    )
    show_name = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Whether visitors see the name beside public and shared results.",
    )
    updated_at = models.DateTimeField(auto_now=True)
    authorised_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="When the log-in began that changed them last."
    )

    objects = UserSettingsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "user settings"

    def __str__(self) -> str:
        return f"Settings of {self.user_id}"

    def clean(self) -> None:
        super().clean()
        names = self.default_classes
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValidationError({"default_classes": "Must be a list of texts."})


ALIVE_SESSION = """
    SELECT {session}, {account}, {settings}
    FROM accounts_session AS session
    JOIN accounts_user AS account ON account.id = session.user_id
    LEFT JOIN accounts_usersettings AS settings ON settings.user_id = account.id
    WHERE session.id = %s AND account.id = %s AND session.revoked_at IS NULL AND session.expires_at > %s
        AND account.is_active
    """


class SessionQuerySet(models.QuerySet["Session"]):
    def alive(self) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=timezone.now(), user__is_active=True)

    def find_alive(self, pk: UUID, user_id: UUID) -> "Session | None":
        """The session, with its user and their settings, by a statement that is written once."""
        values = [pk, user_id, timezone.now()]
        found = rows.read(ALIVE_SESSION, values, session=Session, account=User, settings=UserSettings)
        session: Session | None = None
        for session, session.user, preferences in found:
            User.settings.related.set_cached_value(session.user, preferences)
        return session

    def delete_surplus(self, user: User) -> None:
        """Delete a user's sessions beyond `MOST_OF_USER`: ended ones, then the least recently used."""
        alive_first = models.F("revoked_at").desc(nulls_first=True)
        own = self.filter(user=user).order_by(alive_first, "-last_used_at", "-pk")
        self.filter(pk__in=own.values("pk")[Session.MOST_OF_USER :]).delete()

    def revoke(self) -> int:
        """End these sessions at once, for both of their tokens. How many were not over yet."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())


class Session(models.Model):
    """One log-in. Both of its tokens carry its id as `sid`, so that revoking the row ends both at once."""

    MOST_OF_USER = 1000

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    refresh_jti = models.CharField(max_length=64)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(auto_now_add=True)
    user_agent = models.CharField(max_length=USER_AGENT_LENGTH, blank=True)

    objects = SessionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.user_id} {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def authorised_at(self) -> datetime:
        return self.created_at

    def is_alive(self) -> bool:
        """Reads the database again."""
        return Session.objects.alive().filter(pk=self.pk).exists()


class Ticket(models.Model):
    """Opens one stream of a session's user, shortly after it was issued: browsers cannot send a token there.

    `hash` is the SHA-256 of what is given out.
    """

    LASTS = timedelta(seconds=30)

    hash = models.CharField(max_length=64, primary_key=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="tickets")
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.session_id} {self.expires_at:%Y-%m-%d %H:%M:%S}"


class Scope(models.TextChoices):
    """The calls that an API key may make."""

    DETECT = "detect"
    READ = "read"
    ACCOUNT = "account"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def kept(self) -> Self:
        return self.filter(revoked_at=None)

    def alive(self) -> Self:
        unexpired = models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now())
        return self.kept().filter(unexpired, user__is_active=True)

    def delete_surplus(self, user: User) -> None:
        """Delete a user's revoked keys beyond `MOST_REVOKED`, the earliest ones."""
        revoked = self.filter(user=user).exclude(revoked_at=None).order_by("-revoked_at", "-pk")
        self.filter(pk__in=revoked.values("pk")[ApiKey.MOST_REVOKED :]).delete()

    def revoke(self) -> int:
        """End these keys at once. How many were not revoked yet."""
        return self.kept().update(revoked_at=timezone.now())


class ApiKey(models.Model):
    """A secret by which a program acts for its user, without a session.

    `prefix` is the public part, by which the row is found; `hash` is the SHA-256 of the whole key. The secret
    has 256 bits: it cannot be guessed, so a slow hash would gain nothing.
    """

    USE_NOTED_EVERY = timedelta(minutes=1)
    MOST_REVOKED = 100
    """Rows of revoked keys that are kept of a user."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=KEY_NAME_LENGTH)
    prefix = models.CharField(max_length=20, unique=True)
    hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    authorised_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="When the log-in began that made it."
    )

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    def is_alive(self) -> bool:
        """Reads the database again."""
        return ApiKey.objects.alive().filter(pk=self.pk).exists()

    def note_use(self) -> None:
        """Store the time of the last use, to the minute: requests should not each cause a write."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > self.USE_NOTED_EVERY:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)


class FailedLoginQuerySet(models.QuerySet["FailedLogin"]):
    def of(self, email: str) -> Self:
        return self.filter(account=FailedLogin.account_of(email))

    def recent(self) -> Self:
        # Not those of a clock that was far ahead: they would lock the account until it has caught up.
        now = timezone.now()
        return self.filter(at__gt=now - FailedLogin.WINDOW, at__lt=now + FailedLogin.WINDOW)

    def wrong(self) -> Self:
        """Recent attempts that were wrong, or whose process died before it could say so."""
        abandoned = models.Q(at__lt=timezone.now() - FailedLogin.LONGEST_CHECK)
        return self.recent().filter(models.Q(checked=True) | abandoned)


class FailedLogin(models.Model):
    """An attempt to log in that was wrong, or whose password is being checked.

    `account` is the SHA-256 of the normalised address, which need not have an account: addresses that
    strangers type are not stored.
    """

    WINDOW = timedelta(minutes=5)
    MAX_ATTEMPTS = 10
    """Wrong attempts that an account has within the window."""
    LONGEST_CHECK = timedelta(seconds=10)

    account = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    checked = models.BooleanField(default=False, help_text="It was wrong; until then it is being checked.")

    objects = FailedLoginQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["account", "at"], name="accounts_failed_login"),
            models.Index(fields=["at"], name="accounts_failed_login_at"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"

    @staticmethod
    def account_of(email: str) -> str:
        return sha256(as_stored(email).encode()).hexdigest()
