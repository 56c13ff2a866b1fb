import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("detections", "0005_fill_owner_and_time_of_results"),
    ]

    operations = [
        migrations.AlterField(
            model_name="detectionresult",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="detectionresult",
            name="created_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.RemoveIndex(model_name="detectionresult", name="detections_found"),
        migrations.RemoveIndex(model_name="detectionresult", name="detections_by_class"),
        migrations.RemoveIndex(model_name="detectionresult", name="detections_by_confidence"),
        migrations.AddIndex(
            model_name="detectionresult",
            index=models.Index(
                fields=["detection", "user", "object_class", "-confidence"], name="detections_found"
            ),
        ),
        migrations.AddIndex(
            model_name="detectionresult",
            index=models.Index(fields=["user", "-created_at", "id"], name="detections_results"),
        ),
        migrations.AddIndex(
            model_name="detectionresult",
            index=models.Index(fields=["user", "object_class", "-confidence"], name="detections_by_class"),
        ),
        migrations.AddIndex(
            model_name="detectionresult",
            index=models.Index(fields=["user", "-confidence"], name="detections_by_confidence"),
        ),
    ]
