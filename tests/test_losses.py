"""losses.py: hand-computed values, parity with torch where the definitions meet, and empty batches."""

import math

import pytest
import torch
import torch.nn.functional as F

from tubelet.losses import sigmoid_cross_entropy, softmax_cross_entropy


def test_softmax_by_hand() -> None:
    # logits ln(1), ln(3): probabilities 1/4 and 3/4
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert softmax_cross_entropy(logits, torch.tensor([[1.0, 0.0]])).tolist() == pytest.approx([math.log(4)])
    # two labels share the probability: -(ln 1/4 + ln 3/4) / 2
    expected = (math.log(4) + math.log(4 / 3)) / 2
    assert softmax_cross_entropy(logits, torch.tensor([[1.0, 1.0]])).item() == pytest.approx(expected)
    # smoothing 0.2 turns [1, 0] into [0.9, 0.1]
    expected = 0.9 * math.log(4) + 0.1 * math.log(4 / 3)
    smoothed = softmax_cross_entropy(logits, torch.tensor([[1.0, 0.0]]), 0.2)
    assert smoothed.item() == pytest.approx(expected)


def test_sigmoid_by_hand() -> None:
    # sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2; the classes are added, the examples are not
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    first, second = math.log(4 / 3) + math.log(2), 2 * math.log(2)
    assert sigmoid_cross_entropy(logits, targets).tolist() == pytest.approx([first, second])
    # smoothing 0.2 turns 1 into 0.9 and 0 into 0.1, whatever the number of classes
    smoothed = sigmoid_cross_entropy(torch.tensor([[math.log(3.0)]]), torch.tensor([[1.0]]), 0.2)
    assert smoothed.item() == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))
    # the least possible loss is at probability 0.9, which is what smoothing means
    logit = torch.tensor([[math.log(9.0)]], requires_grad=True)
    sigmoid_cross_entropy(logit, torch.tensor([[1.0]]), 0.2).backward()
    assert logit.grad is not None
    assert abs(logit.grad.item()) < 1e-6


def test_parity_with_torch() -> None:
    torch.manual_seed(0)
    logits, classes = torch.randn(7, 5), torch.randint(5, (7,))
    ours = softmax_cross_entropy(logits, F.one_hot(classes, 5), 0.1)
    torch.testing.assert_close(ours, F.cross_entropy(logits, classes, label_smoothing=0.1, reduction="none"))
    multi_hot = (torch.rand(7, 5) < 0.4).float()
    torch.testing.assert_close(
        sigmoid_cross_entropy(logits, multi_hot).mean(), 5 * F.binary_cross_entropy_with_logits(logits, multi_hot)
    )


@pytest.mark.parametrize("loss", [softmax_cross_entropy, sigmoid_cross_entropy])
def test_float32_inside_and_empty_batches(loss) -> None:
    logits, targets = torch.tensor([[8.0, -8.0]]).bfloat16(), torch.tensor([[1.0, 0.0]])
    assert loss(logits, targets).dtype == torch.float32
    assert loss(logits.double(), targets).dtype == torch.float64
    assert 0 < loss(logits, targets).item() < 1e-2  # in bfloat16 this would round to 0
    parameter = torch.ones(1, requires_grad=True)
    nothing = loss(parameter * torch.zeros(0, 3), torch.zeros(0, 3), 0.1)
    nothing.sum().backward()  # still connected: a rank without a box takes part in the step
    assert nothing.shape == (0,)
    assert parameter.grad is not None
    assert parameter.grad.item() == 0
    with pytest.raises(ValueError, match=r"targets has shape \(2, 4\), logits \(2, 3\)"):
        loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="label_smoothing is 1"):
        loss(torch.zeros(2, 3), torch.ones(2, 3), 1.0)


def test_a_softmax_row_without_a_class_is_refused() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="row 1 has no class"):
        softmax_cross_entropy(torch.zeros(2, 2), targets)
    assert sigmoid_cross_entropy(torch.zeros(2, 2), targets).tolist() == pytest.approx([2 * math.log(2)] * 2)
