from django.urls import path

from detections import account_views, report_views, upload_views, views

urlpatterns = [
    path("detect/image", upload_views.DetectImageView.as_view(), name="detect-image"),
    path("detect/batch", upload_views.DetectBatchView.as_view(), name="detect-batch"),
    path("detect/history", views.HistoryView.as_view(), name="history"),
    path("detect/results", report_views.ResultsView.as_view(), name="results"),
    path("detect/exports", report_views.ExportsView.as_view(), name="exports"),
    path("detect/exports/<uuid:pk>", report_views.ExportView.as_view(), name="export"),
    path("detect/exports/<uuid:pk>/file", report_views.ExportFileView.as_view(), name="export-file"),
    path("users/<uuid:pk>", account_views.AccountView.as_view(), name="user"),
    path("users/export", account_views.TakeoutView.as_view(), name="takeout"),
    path("users/statistics", report_views.StatisticsView.as_view(), name="statistics"),
    path("detectors", views.DetectorsView.as_view(), name="detectors"),
    path("detect/jobs/<uuid:pk>", views.JobView.as_view(), name="job"),
    path("detect/jobs/<uuid:pk>/cancel", views.CancelView.as_view(), name="cancel"),
    path("detect/jobs/<uuid:pk>/retry", views.RetryView.as_view(), name="retry"),
    path("detect/<uuid:pk>", views.DetectionView.as_view(), name="detection"),
    path("detect/<uuid:pk>/export", report_views.DetectionExportView.as_view(), name="detection-export"),
    path("detect/<uuid:pk>/image", views.AnnotatedImageView.as_view(), name="annotated-image"),
    path("detect/<uuid:pk>/images/<uuid:image_id>", views.OriginalImageView.as_view(), name="original-image"),
]
