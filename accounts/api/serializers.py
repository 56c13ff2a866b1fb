from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar

from django.db import IntegrityError, transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound

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
from notifications import mail
from objectvision.errors import invalid
from objectvision.examples import answered, sent
from objectvision.fields import IntegerField, NumberField, TextField, TextListField, TruthField

# Argon2 reads every byte: a password of megabytes would be work for free.
PASSWORD_LENGTH = 128
TOKEN_LENGTH = 4096
ADDRESS_LENGTH = 254
NAME_LENGTH = 150
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
MOST_CLASSES = 1000
CLASS_NAME_LENGTH = 100

EXAMPLE_CREDENTIALS = {"email": "ada@example.com", "password": "a-long-passphrase"}
EXAMPLE_TOKEN = "header.claims.signature"  # noqa: S105  # no token at all
EXAMPLE_PAIR = {
    "access_token": EXAMPLE_TOKEN,
    "refresh_token": EXAMPLE_TOKEN,
    "token_type": "bearer",
    "expires_in": 1800,
}
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
}


class AddressField(serializers.EmailField):
    """In lower case, as it is kept: of some letters that is longer, and other letters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=ADDRESS_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(data).lower()


@extend_schema_serializer(examples=[answered(EXAMPLE_USER), sent({"name": "Ada Lovelace"})])
class UserSerializer(serializers.ModelSerializer[User]):
    name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)

    class Meta:
        model = User
        fields = ("id", "email", "name", "is_staff", "email_verified_at", "created_at", "updated_at")
        read_only_fields = tuple(name for name in fields if name != "name")

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        # These columns alone: a password that is replaced meanwhile stays replaced, a closed account closed.
        now = timezone.now()
        if not User.objects.filter(pk=instance.pk, is_active=True).update(**validated_data, updated_at=now):
            raise NotFound
        for name, value in {**validated_data, "updated_at": now}.items():
            setattr(instance, name, value)
        return instance


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": CLASS_NAME_LENGTH},
        "maxItems": MOST_CLASSES,
    }
)
class ClassNamesField(TextListField):
    pass


@extend_schema_serializer(examples=[answered(EXAMPLE_SETTINGS), sent({"default_confidence": 0.4})])
class UserSettingsSerializer(serializers.ModelSerializer[UserSettings]):
    theme = serializers.ChoiceField(UserSettings.Theme.choices, help_text="For clients that show something.")
    notifications = TruthField(help_text="Whether to be told of what happens.")
    default_confidence = NumberField(
        min_value=0,
        max_value=1,
        allow_null=True,
        help_text="Where a request names none; null: the server's.",
    )
    default_classes = ClassNamesField(
        length=MOST_CLASSES,
        text_length=CLASS_NAME_LENGTH,
        help_text="Names of the classes to look for where a request names none; empty: all.",
    )
    retention_days = IntegerField(
        min_value=1,
        max_value=LONGEST_RETENTION_DAYS,
        allow_null=True,
        help_text="Finished detections older than this are deleted; null: none are.",
    )

    class Meta:
        model = UserSettings
        fields = ("theme", "notifications", "default_confidence", "default_classes", "retention_days")

    def update(self, instance: UserSettings, validated_data: dict[str, Any]) -> UserSettings:
        saved, _ = UserSettings.objects.update_or_create(user=instance.user, defaults=validated_data)
        return saved


@extend_schema_serializer(examples=[sent({**EXAMPLE_CREDENTIALS, "name": "Ada"})])
class SignupSerializer(serializers.ModelSerializer[User]):
    email = AddressField()
    password = TextField(
        max_length=PASSWORD_LENGTH, write_only=True, trim_whitespace=False, style={"input_type": "password"}
    )
    name = TextField(max_length=NAME_LENGTH, required=False, allow_blank=True)

    class Meta:
        model = User
        fields = ("email", "password", "name")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user = User(email=attrs["email"], name=attrs.get("name", ""))
        if faults := passwords.faults(attrs["password"], user):
            raise serializers.ValidationError({"password": faults})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        try:
            with transaction.atomic():
                user = User.objects.create_user(**validated_data)
                mail.send(mail.Kind.VERIFY_EMAIL, user.email)
                return user
        except IntegrityError as error:  # decided by the index: two sign-ups at once make one user
            raise invalid("email", "A user with this e-mail address exists.", "unique") from error

    def to_representation(self, instance: User) -> dict[str, Any]:
        return UserSerializer(instance).data


@extend_schema_serializer(examples=[sent(EXAMPLE_CREDENTIALS)])
class LoginSerializer(serializers.Serializer[Any]):
    email = AddressField()
    password = TextField(max_length=PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"})


@extend_schema_serializer(examples=[sent({"password": EXAMPLE_CREDENTIALS["password"]})])
class PasswordSerializer(serializers.Serializer[Any]):
    password = TextField(max_length=PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"})


class FormLoginSerializer(serializers.Serializer[Any]):
    """The fields that OAuth2's password form has."""

    username = AddressField(source="email")
    password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)


@extend_schema_serializer(examples=[sent({"refresh_token": EXAMPLE_TOKEN})])
class RefreshSerializer(serializers.Serializer[Any]):
    refresh_token = TextField(max_length=TOKEN_LENGTH)


@extend_schema_serializer(examples=[sent({"refresh_token": EXAMPLE_TOKEN})])
class LogoutSerializer(serializers.Serializer[Any]):
    refresh_token = TextField(max_length=TOKEN_LENGTH, required=False)


@extend_schema_serializer(examples=[answered(EXAMPLE_PAIR)])
class TokenPairSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.ChoiceField(["bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")


@extend_schema_serializer(examples=[answered(EXAMPLE_SESSION)])
class SessionSerializer(serializers.ModelSerializer[Session]):
    is_current = serializers.SerializerMethodField(help_text="Whether it is the one that asks.")
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


@extend_schema_field({"type": "array", "items": {"type": "string", "enum": Scope.values}, "minItems": 1})
class ScopesField(serializers.MultipleChoiceField):
    """A list without repetitions, in the order of the alphabet."""

    def to_representation(self, value: Collection[str]) -> list[str]:  # type: ignore[override]  # not a set
        return sorted(value)


@extend_schema_serializer(
    examples=[answered(EXAMPLE_KEY), sent({"name": "Camera at the gate", "scopes": ["detect", "read"]})]
)
class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    name = TextField(max_length=KEY_NAME_LENGTH)
    scopes = ScopesField(
        choices=Scope.choices,
        allow_empty=False,
        default=lambda: {Scope.DETECT.value, Scope.READ.value},
        help_text=(
            "`detect`: upload and change detections; `read`: read and export them; `account`: profile, "
            "settings, everything as a ZIP."
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
