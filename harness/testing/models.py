"""The contract every network keeps, as tests to inherit: for the project's own networks and for those of others.

Example, in a plugin's own tests, run by pytest:

    from harness.testing import ModelContract
    from my_net import build

    class TestMyNet(ModelContract):
        stride = 4

        def build(self, num_classes):
            return build(num_classes, width=4)
"""
# ruff: noqa: S101

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn

from harness.scoring.predict import split_outputs


class ModelContract:
    """Inherit it, say how a small form of the network is built, and run pytest."""

    stride: int = 32
    """What height and width of the input must be multiples of."""

    def build(self, num_classes: int) -> nn.Module:
        """A small form of the network, with new weights."""
        raise NotImplementedError

    def outputs(self, model: nn.Module, x: Tensor, num_classes: int) -> list[Tensor]:
        """Everything the network returns in its present mode: the logits first, then the auxiliary ones."""
        main, others = split_outputs(model(x), num_classes, x.shape[-2:])
        return [main, *others]

    def test_logits_have_the_size_of_the_image_at_any_multiple_of_the_stride(self) -> None:
        """In training and in evaluation, square or not, for one class and for many."""
        for classes in (1, 5):
            model = self.build(classes)
            for factors in ((2, 2), (2, 3), (5, 2)):
                x = torch.randn(2, 3, *(self.stride * f for f in factors))
                for mode in (True, False):
                    logits = self.outputs(model.train(mode), x, classes)[0]
                    assert logits.shape == (2, classes, *x.shape[-2:])

    def test_every_trainable_parameter_gets_a_gradient(self) -> None:
        """Two steps: scores that start at zero let nothing through at first."""
        torch.manual_seed(0)
        model = self.build(3)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        side = max(2 * self.stride, 64)
        for _ in range(2):
            optimizer.zero_grad()
            outputs = self.outputs(model.train(), torch.randn(2, 3, side, side), 3)
            torch.stack([(o * torch.randn_like(o)).sum() for o in outputs]).sum().backward()
            optimizer.step()
        without = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        assert without == []

    def test_saved_and_loaded_weights_predict_the_same_bits(self) -> None:
        """Buffers and all, and under the same names in every build."""
        torch.manual_seed(0)
        one, two = self.build(3), self.build(3)
        for parameter in one.parameters():  # so that nothing, not even a score that starts at zero, is alike
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.1)
        side = max(2 * self.stride, 64)
        x = torch.randn(1, 3, side, side)
        file = io.BytesIO()
        torch.save(one.state_dict(), file)
        file.seek(0)
        with torch.no_grad():
            expected = self.outputs(one.eval(), x, 3)[0]
            assert not torch.equal(expected, self.outputs(two.eval(), x, 3)[0])
            state: dict[str, Any] = torch.load(file, weights_only=True)
            two.load_state_dict(state)
            assert torch.equal(expected, self.outputs(two, x, 3)[0])

    def test_prediction_repeats_itself_and_changes_nothing(self) -> None:
        """In evaluation neither weights nor buffers move, and no random number is drawn."""
        torch.manual_seed(0)
        model = self.build(3).eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        side = max(2 * self.stride, 64)
        x = torch.randn(2, 3, side, side)
        state = torch.get_rng_state()
        with torch.no_grad():
            first, second = (self.outputs(model, x, 3)[0] for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(state, torch.get_rng_state())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
