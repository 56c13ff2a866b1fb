from notifications.models.events import Event, first_id_at
from notifications.models.mails import ERROR_LENGTH, Mail, MailQuerySet
from notifications.models.webhooks import (
    WebhookDelivery,
    WebhookDeliveryQuerySet,
    WebhookEndpoint,
    WebhookEndpointQuerySet,
    new_secret,
)

__all__ = [
    "ERROR_LENGTH",
    "Event",
    "Mail",
    "MailQuerySet",
    "WebhookDelivery",
    "WebhookDeliveryQuerySet",
    "WebhookEndpoint",
    "WebhookEndpointQuerySet",
    "first_id_at",
    "new_secret",
]
