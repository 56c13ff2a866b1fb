from datetime import timedelta
from hashlib import sha256
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from objectvision.ids import uuid7

USER_AGENT_LENGTH = 200
KEY_NAME_LENGTH = 100
LONGEST_RETENTION_DAYS = 3650


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())


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
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [
            # `save` lowers it; this holds for what goes around `save`.
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
        self.email = self.email.lower()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A password that was set (in the admin, by `changepassword`) ends the sessions of the old one."""
        self.email = self.email.lower()
        is_set = self._password is not None  # type: ignore[attr-defined]  # what `set_password` has set
        has_new_password = is_set and not self._state.adding
        super().save(*args, **kwargs)
        if has_new_password:
            Session.objects.filter(user=self).revoke()

    @property
    def preferences(self) -> "UserSettings":
        """The user's settings: as they set them, or as they are while nobody has. Not saved by this."""
        try:
            return self.settings
        except UserSettings.DoesNotExist:
            return UserSettings(user=self)


class UserSettingsQuerySet(models.QuerySet["UserSettings"]):
    def retentions(self) -> list[int]:
        """The numbers of days that somebody wants to keep detections for, each once."""
        wanted = self.exclude(retention_days=None).order_by("retention_days")
        return [days for days in wanted.values_list("retention_days", flat=True).distinct() if days]


class UserSettings(models.Model):
    """What a user has chosen. There is no row before they do."""

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
    updated_at = models.DateTimeField(auto_now=True)

    objects = UserSettingsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "user settings"

    def __str__(self) -> str:
        return f"Settings of {self.user_id}"


class SessionQuerySet(models.QuerySet["Session"]):
    def alive(self) -> Self:
        return self.filter(revoked_at=None, expires_at__gt=timezone.now(), user__is_active=True)

    def revoke(self) -> int:
        """End them, at once and for both of their tokens. How many were not over yet."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())


class Session(models.Model):
    """One log-in. Both of its tokens carry its id as `sid`, so ending the row ends them at once."""

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


class Scope(models.TextChoices):
    """What an API key may be used for."""

    DETECT = "detect"
    READ = "read"
    ACCOUNT = "account"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def kept(self) -> Self:
        return self.filter(revoked_at=None)

    def alive(self) -> Self:
        unexpired = models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now())
        return self.kept().filter(unexpired, user__is_active=True)

    def revoke(self) -> int:
        """End them at once. How many were not over yet."""
        return self.kept().update(revoked_at=timezone.now())


class ApiKey(models.Model):
    """A secret by which a program acts for its user, without a session.

    `prefix` is the public part, by which the row is found; `hash` the SHA-256 of the whole key. The secret
    has 256 bits, so nobody guesses it and nothing is gained by a slow hash.
    """

    USE_NOTED_EVERY = timedelta(minutes=1)

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

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    def note_use(self) -> None:
        """Remember when it was used last, to the minute: a write for each request would be one too many."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > self.USE_NOTED_EVERY:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)


class FailedLoginQuerySet(models.QuerySet["FailedLogin"]):
    def of(self, email: str) -> Self:
        return self.filter(account=FailedLogin.account_of(email))

    def recent(self) -> Self:
        return self.filter(at__gt=timezone.now() - FailedLogin.WINDOW)

    def wrong(self) -> Self:
        """The recent ones but for those that are being checked. No check takes long: whose did is dead."""
        lost = models.Q(at__lt=timezone.now() - FailedLogin.LONGEST_CHECK)
        return self.recent().filter(models.Q(checked=True) | lost)


class FailedLogin(models.Model):
    """A try at an account's password, whether there is such an account or not: a wrong one, or one that is
    being checked.

    `account` is the SHA-256 of the address in lower case: what strangers type is not kept.
    """

    WINDOW = timedelta(minutes=5)
    MOST = 10
    """Wrong tries that an account has within the window."""
    LONGEST_CHECK = timedelta(seconds=10)

    account = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)
    checked = models.BooleanField(default=False, help_text="It was wrong; before, nobody knows.")

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
        return sha256(email.lower().encode()).hexdigest()
