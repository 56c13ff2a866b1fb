from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from rest_framework import serializers

from accounts.models import User
from objectvision.errors import invalid

# Argon2 reads every byte: a password of megabytes would be work for free.
PASSWORD_LENGTH = 128
TOKEN_LENGTH = 4096


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "name", "is_staff", "email_verified_at", "created_at", "updated_at")
        read_only_fields = fields


class SignupSerializer(serializers.ModelSerializer[User]):
    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(
        max_length=PASSWORD_LENGTH, write_only=True, trim_whitespace=False, style={"input_type": "password"}
    )
    name = serializers.CharField(max_length=150, required=False, allow_blank=True)

    class Meta:
        model = User
        fields = ("email", "password", "name")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user = User(email=attrs["email"], name=attrs.get("name", ""))
        try:
            validate_password(attrs["password"], user)
        except DjangoValidationError as error:
            details = [serializers.ErrorDetail(str(e.messages[0]), e.code) for e in error.error_list]
            raise serializers.ValidationError({"password": details}) from error
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        try:
            with transaction.atomic():
                return User.objects.create_user(**validated_data)
        except IntegrityError as error:  # decided by the index: two sign-ups at once make one user
            raise invalid("email", "A user with this e-mail address exists.", "unique") from error

    def to_representation(self, instance: User) -> dict[str, Any]:
        return UserSerializer(instance).data


class LoginSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(
        max_length=PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"}
    )


class FormLoginSerializer(serializers.Serializer[Any]):
    """The fields that OAuth2's password form has."""

    username = serializers.EmailField(max_length=254, source="email")
    password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)


class RefreshSerializer(serializers.Serializer[Any]):
    refresh_token = serializers.CharField(max_length=TOKEN_LENGTH)


class LogoutSerializer(serializers.Serializer[Any]):
    refresh_token = serializers.CharField(max_length=TOKEN_LENGTH, required=False)


class TokenPairSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.ChoiceField(["bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")
