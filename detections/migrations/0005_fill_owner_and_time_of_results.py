from typing import Any

from django.db import migrations
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce


def fill(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001  # Django passes it
    result = apps.get_model("detections", "DetectionResult")
    image = apps.get_model("detections", "DetectionImage").objects.filter(pk=OuterRef("image"))
    time = Coalesce("processed_at", "detection__created_at")
    result.objects.filter(user=None).update(
        user=Subquery(image.values("user")), created_at=Subquery(image.values(time=time)[:1])
    )


class Migration(migrations.Migration):
    dependencies = [
        ("detections", "0004_owner_and_time_of_results"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
