"""The target scores of boxes, and the weight of each batch."""

from types import SimpleNamespace

import pytest

from training.scenes.symbols import QR_CODE, UNCLEAR

pytestmark = pytest.mark.torch

CODE = (16.0, 16.0, 48.0, 48.0)
SIDES = (8, 4, 2)
"""Places of a picture of 64 pixels, at each scale, in a row."""


@pytest.fixture(scope="module")
def loss(torch):
    from training import loss

    return loss


def targets(torch, assigner, boxes):
    """Target scores of these boxes around a code of the second class, in one picture."""
    count = len(boxes)
    assigner = assigner(topk=count, num_classes=3)
    middles = torch.full((count, 2), 32.0)
    code = torch.tensor([[CODE]])
    given = torch.full((1, count, 3), 0.5), torch.tensor([boxes]), middles
    _, _, scores, chosen, _ = assigner(*given, torch.ones(1, 1, 1), code, torch.ones(1, 1, 1))
    assert chosen.all()
    assert not scores[..., [0, 2]].any()
    return scores[0, :, 1]


def test_the_best_box_of_a_code_has_target_score_1(torch, loss):
    loose, looser = (16.0, 16.0, 48.0, 40.0), (16.0, 16.0, 48.0, 36.0)
    best, second = targets(torch, loss.Assigner, [loose, looser])
    assert best == 1
    assert 0 < second < 0.9
    assert targets(torch, loss.TaskAlignedAssigner, [loose, looser])[0] < 0.8


def test_a_box_that_hardly_overlaps_a_code_has_a_low_target_score(torch, loss):
    (only,) = targets(torch, loss.Assigner, [(31.0, 31.0, 33.0, 33.0)])
    assert only < 0.2


@pytest.fixture(scope="module")
def learnt(torch, loss):
    """Gradients by class and place of a 64-pixel picture, with these classes in its upper left quarter."""
    head = SimpleNamespace(stride=torch.tensor([8.0, 16.0, 32.0]), nc=3, reg_max=16)
    gains = SimpleNamespace(box=1.0, cls=1.0, dfl=1.0)
    model = SimpleNamespace(args=gains, model=[head], parameters=lambda: iter([torch.zeros(1)]))

    def learn(*classes, usual=None):
        of_picture = loss.Loss(model)
        of_picture.usual = usual
        count = sum(side**2 for side in SIDES)
        scores = torch.zeros(1, 3, count, requires_grad=True)
        feats = [torch.zeros(1, 1, side, side) for side in SIDES]
        batch = {
            "cls": torch.tensor(classes).view(-1, 1).float(),
            "bboxes": torch.tensor([[0.25, 0.25, 0.5, 0.5]]).repeat(len(classes), 1),
            "batch_idx": torch.zeros(len(classes)),
        }
        found, _ = of_picture.loss(
            {"boxes": torch.zeros(1, 64, count), "scores": scores, "feats": feats}, batch
        )
        found.sum().backward()
        return scores.grad[0, :, : SIDES[0] ** 2].reshape(3, SIDES[0], SIDES[0])

    return learn


def test_an_unclear_code_has_no_gradient_and_its_surroundings_learn_no_code(learnt):
    less = learnt(UNCLEAR)
    assert not less[:, :4, :4].any()
    assert (less[:, 4:] > 0).all()
    assert (less[:, :, 4:] > 0).all()


def test_a_clear_code_is_learnt_under_an_unclear_one(torch, learnt):
    less = learnt(QR_CODE, UNCLEAR)
    assert less[QR_CODE, :4, :4].min() < 0
    assert torch.allclose(less, learnt(QR_CODE))


def test_the_loss_is_divided_by_the_usual_number_of_codes(torch, learnt):
    """The usual number is a running mean, so an empty picture weighs the same in every batch."""
    assert torch.allclose(learnt(usual=40.0) * 39.2, learnt())
