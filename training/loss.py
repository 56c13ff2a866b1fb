"""The loss: that of ultralytics for YOLOv8, with other targets and another mean."""

from __future__ import annotations

from typing import Any

import torch

from training.quiet import TaskAlignedAssigner, make_anchors, v8DetectionLoss
from training.scenes.symbols import UNCLEAR

LEAST = 0.05
"""Scores are scaled up by the best one, but by no lower one than this."""
MEMORY = 0.98
"""The weight of earlier batches in the running mean of the sum of targets."""
NOTHING = -20.0
"""A logit so low that it gives no gradient where no code is."""


class Assigner(TaskAlignedAssigner):  # type: ignore[misc]  # untyped library
    """The best box of a code has a target of 1; its other boxes have less in proportion.

    ultralytics' targets are at most the box's overlap with the code: small codes, whose boxes are less exact,
    then rank behind false alarms. Here a box that overlaps by half is as good as an exact one.
    """

    total = 0.0
    """The sum of the last batch's targets."""

    def _forward(self, *args: Any, **kwargs: Any) -> Any:  # the only method that computes targets
        labels, boxes, scores, chosen, codes = super()._forward(*args, **kwargs)
        of_box = scores.amax(dim=-1) * chosen
        best = torch.zeros(len(scores), self.n_max_boxes).scatter_reduce(1, codes, of_box, "amax")
        scores = scores / best.gather(1, codes).clamp(min=LEAST).unsqueeze(-1)
        self.total = float(scores.sum())
        return labels, boxes, scores, chosen, codes


class Loss(v8DetectionLoss):  # type: ignore[misc]  # as above
    """In 32 bits: 16 tell places in the right half of a picture apart by whole pixels only.

    Where an unclear code is, neither finding it is learnt nor finding nothing.

    Divided by how much there usually is to find, not by what is in this batch: else each picture in a batch
    with few codes counts for more, most of all an empty one.
    """

    assigner: Any

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        ours = self.assigner
        self.assigner = Assigner(ours.topk, ours.num_classes, ours.alpha, ours.beta, ours.stride, ours.eps)
        self.usual: float | None = None

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Any:
        self.assigner.total = 0.0
        with torch.autocast("cpu", enabled=False):
            feats = [part.float() for part in preds["feats"]]
            clear = batch["cls"].view(-1) != UNCLEAR
            spared = self.covered(feats, batch, ~clear) & ~self.covered(feats, batch, clear)
            scores = preds["scores"].float().masked_fill(spared[:, None], NOTHING)
            asked = {name: batch[name][clear] for name in ("batch_idx", "cls", "bboxes")}
            precise = {"boxes": preds["boxes"].float(), "scores": scores, "feats": feats}
            loss, parts = super().loss(precise, batch | asked)
        return loss * self.evened(self.assigner.total), parts

    def covered(self, feats: list[torch.Tensor], batch: dict[str, Any], chosen: torch.Tensor) -> torch.Tensor:
        """For each picture, the anchors whose centre lies in one of the chosen boxes."""
        middles, strides = make_anchors(feats, self.stride, 0.5)
        height, width = (self.stride[0] * side for side in feats[0].shape[2:])
        middles = middles * strides / torch.stack([width, height])
        covered = torch.zeros(len(feats[0]), len(middles), dtype=torch.bool)
        for picture, box in zip(batch["batch_idx"][chosen].long(), batch["bboxes"][chosen], strict=True):
            covered[picture] |= ((middles - box[:2]).abs() <= box[2:] / 2).all(dim=1)
        return covered

    def evened(self, total: float) -> float:
        """The factor that turns the mean over this batch's targets into one over their usual number."""
        self.usual = total if self.usual is None else MEMORY * self.usual + (1 - MEMORY) * total
        return max(total, 1) / max(self.usual, 1)
