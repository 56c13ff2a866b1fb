from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("detections", "0006_results_of_a_user"),
    ]

    operations = [
        migrations.AddField(
            model_name="export",
            name="attempts",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="export",
            name="claim",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="export",
            name="claimed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="export",
            name="filters",
            field=models.JSONField(default=dict, help_text="Those of a history: which detections are in it."),
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(
                condition=models.Q(("status__in", ("pending", "processing"))),
                fields=["id"],
                name="detections_export_unfinished",
            ),
        ),
    ]
