from rest_framework.routers import SimpleRouter

from notifications.api import webhooks

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("webhooks", webhooks.WebhookViewSet, "webhook")
router.register("webhooks", webhooks.DeliveryViewSet, "webhook-delivery")

urlpatterns = router.urls
