from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from drf_standardized_errors.openapi_validation_errors import extend_validation_errors
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.caller import current_user
from accounts.models import Scope
from detections import bulk
from detections.api import examples
from detections.api.serializers import MOST_IDS, DetectionIdsField
from detections.models import Detection
from objectvision.api.examples import answered, sent
from objectvision.api.serializers import StrictSerializer
from objectvision.api.throttles import UploadThrottle
from objectvision.api.views import StrictViewSet


@extend_schema_serializer(examples=[sent(examples.BULK)])
class BulkSerializer(StrictSerializer):
    """What to do with which detections."""

    action = serializers.ChoiceField(bulk.ACTIONS)
    detection_ids = DetectionIdsField(
        length=MOST_IDS, help_text="Ids of your detections; those of other users are ignored."
    )


@extend_schema_serializer(examples=[answered({"count": 2}, 202)])
class ChangedSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(min_value=0, help_text="How many of the detections are yours.")


@extend_validation_errors(["max_length"], "detection_ids", actions=["bulk"])
class BulkViewSet(StrictViewSet[Detection]):
    key_scopes: ClassVar = {"POST": Scope.DETECT}
    throttle_classes = (UploadThrottle,)

    @extend_schema(operation_id="change_detections", responses={202: ChangedSerializer})
    @action(detail=False, methods=["post"], serializer_class=BulkSerializer)
    def bulk(self, request: Request) -> Response:
        """Change many detections.

        `publish` and `withdraw` are done when this answers. `delete` and `reprocess` go on in the background:
        reprocessing runs finished detections again behind uploads, as far as your images may wait; results
        stay until there are new ones, and images with reviewed results are left alone. At most 10 such
        requests may be unfinished, else 429.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        count = bulk.change_many(current_user(request), wanted["action"], wanted["detection_ids"])
        return Response({"count": count}, status.HTTP_202_ACCEPTED)
