from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as InvalidAddress
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from accounts import passwords
from accounts.models import (
    KEY_NAME_LENGTH,
    LONGEST_RETENTION_DAYS,
    ApiKey,
    Scope,
    Session,
    User,
    UserSettings,
)
from accounts.tokens import LONGEST_TOKEN
from objectvision.api.examples import answered, sent
from objectvision.api.fields import IntegerField, NumberField, TextField, TextListField, TruthField
from objectvision.api.serializers import StrictSerializer
from objectvision.lib import addresses

# Argon2 reads every byte: passwords of megabytes would be an attack.
PASSWORD_LENGTH = 128
PASSWORD_CODES = [
    "password_entirely_numeric", "password_too_common", "password_too_short", "password_too_similar",
]  # fmt: skip  # a list to read at a glance
NAME_LENGTH = 150
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
MOST_CLASSES = 1000
CLASS_NAME_LENGTH = 100
MOST_SCOPES = 10

EXAMPLE_EMAIL = {"email": "ada@example.com"}
EXAMPLE_CREDENTIALS = {"email": "ada@example.com", "password": "a-long-passphrase"}
EXAMPLE_NEW = "a-longer-passphrase"
EXAMPLE_LINK = "01a20ed0-51a7-7cc2-b0a4-0e2ddc8e1a52.d5xw2c-9a1c"
EXAMPLE_JWT = "header.claims.signature"
EXAMPLE_PAIR = {
    "access_token": EXAMPLE_JWT,
    "refresh_token": EXAMPLE_JWT,
    "token_type": "bearer",
    "expires_in": 1800,
}
EXAMPLE_TICKET = {"ticket": "kT1bSx0YvXQ2cW8pYy5D9g:1vOzkS:signature", "expires_in": 30}
EXAMPLE_USER = {
    "id": "01a20ed0-51a7-7cc2-b0a4-0e2ddc8e1a52",
    "email": "ada@example.com",
    "name": "Ada",
    "is_staff": False,
    "email_verified_at": None,
    "created_at": "2026-11-25T00:36:40.311Z",
    "updated_at": "2026-11-25T00:36:40.311Z",
}
EXAMPLE_SESSION = {
    "id": "01a20ed0-8b1c-7e0f-9a55-0d5c3e3f7b10",
    "user_agent": AGENT,
    "is_current": True,
    "created_at": "2026-11-25T00:36:40.311Z",
    "last_used_at": "2026-11-25T01:06:12.904Z",
    "expires_at": "2026-12-02T01:06:12.904Z",
}
EXAMPLE_KEY = {
    "id": "01a20ed1-3e57-7d41-8c0b-6f2f1a9be2c4",
    "name": "Camera at the gate",
    "prefix": "ov_k3v9x0q7m2ta",
    "scopes": ["detect", "read"],
    "expires_at": None,
    "last_used_at": None,
    "created_at": "2026-11-25T00:36:40.311Z",
}
EXAMPLE_SETTINGS = {
    "theme": "system",
    "notifications": True,
    "default_confidence": None,
    "default_classes": ["person", "bus"],
    "retention_days": 90,
    "show_name": False,
}


class AddressField(serializers.EmailField):
    """An e-mail address, normalised as it is stored."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=addresses.LONGEST, **options)

    def to_internal_value(self, data: Any) -> str:
        try:
            return addresses.normalised(super().to_internal_value(data))
        except InvalidAddress as error:
            raise serializers.ValidationError(error.messages, error.code) from error


class PasswordField(TextField):
    def __init__(self, **options: Any) -> None:
        style = {"input_type": "password"}
        super().__init__(max_length=PASSWORD_LENGTH, trim_whitespace=False, style=style, **options)


@extend_schema_serializer(examples=[answered(EXAMPLE_USER), sent({"name": "Ada Lovelace"})])
class UserSerializer(StrictSerializer, serializers.ModelSerializer[User]):
    name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)

    class Meta:
        model = User
        fields = ("id", "email", "name", "is_staff", "email_verified_at", "created_at", "updated_at")
        read_only_fields = tuple(name for name in fields if name != "name")


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": CLASS_NAME_LENGTH},
        "maxItems": MOST_CLASSES,
    }
)
class ClassNamesField(TextListField):
    """Each name once."""

    def to_internal_value(self, data: Any) -> list[str]:
        return list(dict.fromkeys(super().to_internal_value(data)))


@extend_schema_serializer(examples=[answered(EXAMPLE_SETTINGS), sent({"default_confidence": 0.4})])
class UserSettingsSerializer(StrictSerializer, serializers.ModelSerializer[UserSettings]):
    theme = serializers.ChoiceField(UserSettings.Theme.choices, help_text="For clients with an interface.")
    notifications = TruthField(help_text="Whether to send notifications.")
    default_confidence = NumberField(
        min_value=0,
        max_value=1,
        allow_null=True,
        help_text="For requests that name none; null: the server's.",
    )
    default_classes = ClassNamesField(
        length=MOST_CLASSES,
        text_length=CLASS_NAME_LENGTH,
        help_text="Classes to look for in requests that name none; empty: all.",
    )
    retention_days = IntegerField(
        min_value=1,
        max_value=LONGEST_RETENTION_DAYS,
        allow_null=True,
        help_text="Finished detections older than this are deleted; null: none are.",
    )
    show_name = TruthField(help_text="Whether visitors see your name beside your public and shared results.")

    class Meta:
        model = UserSettings
        fields = (
            "theme", "notifications", "default_confidence", "default_classes", "retention_days", "show_name",
        )  # fmt: skip  # a list to read at a glance


@extend_schema_serializer(examples=[sent({**EXAMPLE_CREDENTIALS, "name": "Ada"})])
class SignupSerializer(StrictSerializer, serializers.ModelSerializer[User]):
    email = AddressField()
    password = PasswordField(write_only=True)
    name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)

    class Meta:
        model = User
        fields = ("email", "password", "name")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user = User(email=attrs["email"], name=attrs.get("name", ""))
        if weaknesses := passwords.password_weaknesses(attrs["password"], user):
            raise serializers.ValidationError({"password": weaknesses})
        return attrs


@extend_schema_serializer(examples=[sent(EXAMPLE_CREDENTIALS)])
class LoginSerializer(StrictSerializer):
    email = AddressField()
    password = PasswordField()


@extend_schema_serializer(examples=[sent({"password": EXAMPLE_CREDENTIALS["password"]})])
class PasswordSerializer(StrictSerializer):
    password = PasswordField()


class FormLoginSerializer(StrictSerializer):
    """The fields of OAuth2's password form, which has others besides: unknown ones are ignored (RFC 6749)."""

    ignores_unknown = True

    username = AddressField(source="email")
    password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)


@extend_schema_serializer(
    examples=[sent({"current_password": "a-long-passphrase", "new_password": EXAMPLE_NEW})]
)
class PasswordChangeSerializer(StrictSerializer):
    current_password = PasswordField()
    new_password = PasswordField()


@extend_schema_serializer(examples=[sent(EXAMPLE_EMAIL)])
class AddressSerializer(StrictSerializer):
    email = AddressField()


@extend_schema_serializer(examples=[sent({"token": EXAMPLE_LINK, "new_password": EXAMPLE_NEW})])
class PasswordResetSerializer(StrictSerializer):
    token = TextField(max_length=LONGEST_TOKEN, help_text="From the mailed link.")
    new_password = PasswordField()


@extend_schema_serializer(examples=[sent({"refresh_token": EXAMPLE_JWT})])
class RefreshSerializer(StrictSerializer):
    refresh_token = TextField(max_length=LONGEST_TOKEN)


@extend_schema_serializer(examples=[sent({"refresh_token": EXAMPLE_JWT})])
class LogoutSerializer(StrictSerializer):
    refresh_token = TextField(max_length=LONGEST_TOKEN, required=False)


@extend_schema_serializer(examples=[answered(EXAMPLE_PAIR)])
class TokenPairSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.ChoiceField(["bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")


@extend_schema_serializer(examples=[answered(EXAMPLE_TICKET)])
class TicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")


@extend_schema_serializer(examples=[answered(EXAMPLE_SESSION)])
class SessionSerializer(serializers.ModelSerializer[Session]):
    is_current = serializers.SerializerMethodField(help_text="Whether it is the session of this request.")
    last_used_at = serializers.DateTimeField(read_only=True, help_text="When its tokens were renewed last.")

    class Meta:
        model = Session
        fields = ("id", "user_agent", "is_current", "created_at", "last_used_at", "expires_at")
        read_only_fields = fields

    def get_is_current(self, session: Session) -> bool:
        return bool(session == self.context["request"].auth)


class FutureField(serializers.DateTimeField):
    default_error_messages: ClassVar = {"past": "Must be in the future."}

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if moment <= timezone.now():
            self.fail("past")
        return moment


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "enum": Scope.values},
        "minItems": 1,
        "maxItems": MOST_SCOPES,
    }
)
class ScopesField(serializers.MultipleChoiceField):
    """A list without repetitions, sorted."""

    default_error_messages: ClassVar = {"max_length": f"Must have at most {MOST_SCOPES} items."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list):  # a mapping's keys would be taken for a list
            self.fail("not_a_list", input_type=type(data).__name__)
        if len(data) > MOST_SCOPES:
            self.fail("max_length")
        return super().to_internal_value(data)  # type: ignore[arg-type]  # the stubs know no list

    def to_representation(self, value: Collection[str]) -> list[str]:  # type: ignore[override]  # not a set
        return sorted(value)


@extend_schema_serializer(
    examples=[answered(EXAMPLE_KEY), sent({"name": "Camera at the gate", "scopes": ["detect", "read"]})]
)
class ApiKeySerializer(StrictSerializer, serializers.ModelSerializer[ApiKey]):
    name = TextField(max_length=KEY_NAME_LENGTH)
    scopes = ScopesField(
        choices=Scope.choices,
        allow_empty=False,
        default=lambda: {Scope.DETECT.value, Scope.READ.value},
        help_text=(
            "`detect`: upload and change detections; `read`: read and export them; `account`: profile, "
            "settings and webhooks. Everything as a ZIP needs `account` and `read`; `retention_days` needs "
            "`account` and `detect`."
        ),
    )
    expires_at = FutureField(allow_null=True, default=None, help_text="null: never.")

    class Meta:
        model = ApiKey
        fields = ("id", "name", "prefix", "scopes", "expires_at", "last_used_at", "created_at")
        read_only_fields = ("id", "prefix", "last_used_at", "created_at")


@extend_schema_serializer(
    examples=[answered({**EXAMPLE_KEY, "key": "ov_k3v9x0q7m2ta_<43 more characters>"}, 201)]
)
class NewApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "key")  # type: ignore[assignment]  # one more
