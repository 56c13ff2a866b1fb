"""The size and direction of the optimizer's steps."""

import pytest

pytestmark = pytest.mark.torch

RATE = 0.01


@pytest.fixture
def stepped(torch):
    """A convolution before a step, after it, and after a step of AdamW."""
    from training.muon import Muon

    layers = [torch.nn.Conv2d(16, 32, 3) for _ in range(3)]
    for layer in layers[1:]:
        layer.load_state_dict(layers[0].state_dict())
    pictures = torch.rand(4, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    for layer, optimizer in zip(layers[1:], (Muon, torch.optim.AdamW), strict=True):
        made = optimizer(layer.parameters(), lr=RATE, weight_decay=0)
        layer(pictures).square().sum().backward()
        made.step()
    return layers


def test_kernels_step_evenly_in_all_directions_as_far_as_with_adamw(torch, stepped):
    before, after, _ = stepped
    step = (after.weight - before.weight).detach()
    strengths = torch.linalg.svdvals(step.flatten(1))
    assert strengths.max() / strengths.min() < 3
    assert step.square().mean().sqrt().item() == pytest.approx(0.2 * RATE, rel=0.5)


def test_parameters_other_than_kernels_step_as_with_adamw(torch, stepped):
    before, after, usual = stepped
    assert torch.equal(after.bias, usual.bias)
    assert not torch.equal(after.bias, before.bias)
