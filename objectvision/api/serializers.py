"""The base of all serializers that read a body."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from objectvision.api.field_names import Faults, name_faults
from objectvision.api.fields import Repeatable


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that are unknown or repeated. A partial update ignores those that are read-only."""

    ignores_unknown = False

    def to_internal_value(self, data: Any) -> Any:
        faults = self.name_faults(data)
        try:
            values = super().to_internal_value(data)
        except ValidationError as error:
            raise ValidationError({**error.detail, **faults}) from error  # type: ignore[dict-item]  # a dict
        if faults:
            raise ValidationError(faults)
        return values

    def name_faults(self, data: Any) -> Faults:
        known = [name for name, field in self.fields.items() if self.partial or not field.read_only]
        lists = [name for name, field in self.fields.items() if isinstance(field, Repeatable)]
        return name_faults(data, data if self.ignores_unknown else known, lists)
