from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from accounts.serializers import PASSWORD_LENGTH, TOKEN_LENGTH, AddressField
from objectvision.examples import sent
from objectvision.fields import TextField

EXAMPLE_EMAIL = {"email": "ada@example.com"}
EXAMPLE_NEW = "a-longer-passphrase"
EXAMPLE_PROOF = "01a20ed0-51a7-7cc2-b0a4-0e2ddc8e1a52.d5xw2c-9a1c"


class PasswordField(TextField):
    def __init__(self) -> None:
        super().__init__(max_length=PASSWORD_LENGTH, trim_whitespace=False, style={"input_type": "password"})


@extend_schema_serializer(
    examples=[sent({"current_password": "a-long-passphrase", "new_password": EXAMPLE_NEW})]
)
class PasswordChangeSerializer(serializers.Serializer[Any]):
    current_password = PasswordField()
    new_password = PasswordField()


@extend_schema_serializer(examples=[sent(EXAMPLE_EMAIL)])
class AddressSerializer(serializers.Serializer[Any]):
    email = AddressField()


@extend_schema_serializer(examples=[sent({"token": EXAMPLE_PROOF, "new_password": EXAMPLE_NEW})])
class PasswordResetSerializer(serializers.Serializer[Any]):
    token = TextField(max_length=TOKEN_LENGTH, help_text="From the mailed link.")
    new_password = PasswordField()
