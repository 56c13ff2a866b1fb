from django.urls import path
from rest_framework.routers import SimpleRouter

from detections.api import (
    account,
    bulk,
    detections,
    exports,
    jobs,
    lists,
    rerun,
    reviews,
    shares,
    uploads,
    visitors,
)
from detections.live.views import EventsView

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("detect/results", lists.ResultViewSet, "result")
router.register("detect/exports", exports.ExportViewSet, "export")
router.register("detect/jobs", jobs.JobViewSet, "job")
router.register("detect/public", visitors.PublicViewSet, "public")
router.register("detect/shared", visitors.SharedViewSet, "shared")
router.register("detect", uploads.UploadViewSet, "upload")
router.register("detect", bulk.BulkViewSet, "bulk")
router.register("detect", detections.DetectionViewSet, "detection")
router.register("detect", rerun.RerunViewSet, "rerun")
router.register("detect", shares.ShareViewSet, "share")
router.register("detect", reviews.ReviewViewSet, "review")
router.register("detectors", lists.DetectorViewSet, "detector")

urlpatterns = [
    path("events", EventsView.as_view(), name="events"),
    path("users/export", account.TakeoutView.as_view(), name="takeout"),
    path("users/statistics", account.StatisticsView.as_view(), name="statistics"),
    *router.urls,
]
