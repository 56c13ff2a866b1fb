"""What boxes are taught to say, and how much each batch counts."""

import pytest
import torch

from detections.inference.runtimes import import_ultralytics

CODE = (16.0, 16.0, 48.0, 48.0)


@pytest.fixture(scope="module")
def loss():
    import_ultralytics()  # as the tests beside this one have to find it: it then loads weights safely
    from training import loss

    return loss


def targets(assigner, boxes):
    """Of one picture with a code of the second class, and these boxes around its middle."""
    count = len(boxes)
    assigner = assigner(topk=count, num_classes=3)
    middles = torch.full((count, 2), 32.0)
    code = torch.tensor([[CODE]])
    given = torch.full((1, count, 3), 0.5), torch.tensor([boxes]), middles
    _, _, scores, chosen, _ = assigner(*given, torch.ones(1, 1, 1), code, torch.ones(1, 1, 1))
    assert chosen.all()
    assert not scores[..., [0, 2]].any()
    return scores[0, :, 1]


def test_the_best_box_of_a_code_is_a_sure_one_however_well_it_fits(loss):
    loose, looser = (16.0, 16.0, 48.0, 40.0), (16.0, 16.0, 48.0, 36.0)
    best, second = targets(loss.Assigner, [loose, looser])
    assert best == 1
    assert 0 < second < 0.9
    assert targets(loss.TaskAlignedAssigner, [loose, looser])[0] < 0.8


def test_a_box_that_hardly_meets_a_code_is_no_sure_one(loss):
    (only,) = targets(loss.Assigner, [(31.0, 31.0, 33.0, 33.0)])
    assert only < 0.2


def test_a_batch_with_little_to_find_counts_for_no_more_than_others(loss):
    """Each is divided by what is in it; what comes back must be divided by what usually is."""
    evened = loss.Loss.evened
    one = loss.Loss.__new__(loss.Loss)
    one.usual = None
    assert evened(one, 40.0) == 1
    assert evened(one, 0.0) == pytest.approx(1 / 39.2)
    assert evened(one, 80.0) == pytest.approx(80 / one.usual)
