"""The contract every network keeps, as tests to inherit: for the project's own networks and for those of others.

Example, in a plugin's own tests, run by pytest:

    from harness.testing import ModelContract
    from my_net import build

    class TestMyNet(ModelContract):
        stride = 4

        def build(self, num_classes):
            return build(num_classes, width=4)
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from harness.errors import BadModel
from harness.training import conformance
from harness.training.conformance import Remark, Subject


class ModelContract:
    """Inherit it, say how a small form of the network is built, and run pytest. `bench check-model` checks the same."""

    stride: int = 32
    """What height and width of the input must be multiples of."""
    size: tuple[int, int] | None = None
    """Height and width of the input, where the network declares them."""

    def build(self, num_classes: int) -> nn.Module:
        """A small form of the network, with new weights."""
        raise NotImplementedError

    def keeps(self, check: Callable[[Subject], str]) -> None:
        """Do one of `harness.training.conformance`'s checks; what it only remarks on breaks nothing."""
        try:
            check(Subject(self.build, self.stride, self.size))
        except Remark:
            return
        except BadModel as error:
            raise AssertionError(str(error)) from error

    def test_logits_have_the_size_of_the_image_at_any_multiple_of_the_stride(self) -> None:
        """In training and in evaluation, square or not, for one class and for many."""
        self.keeps(conformance.check_classes)
        self.keeps(conformance.check_sizes)

    def test_every_trainable_parameter_gets_a_gradient(self) -> None:
        """Two steps: scores that start at zero let nothing through at first."""
        self.keeps(conformance.check_gradients)

    def test_saved_and_loaded_weights_predict_the_same_bits(self) -> None:
        """Buffers and all, and under the same names in every build."""
        self.keeps(conformance.check_weights)

    def test_prediction_repeats_itself_and_changes_nothing(self) -> None:
        """In evaluation neither weights nor buffers move, no random number is drawn, and other images do not count."""
        self.keeps(conformance.check_hidden_state)

    def test_modes_precision_and_layout_are_the_training_loops_to_choose(self) -> None:
        """One image, `train()` and `eval()`, mixed precision, channels-last."""
        for check in (
            conformance.check_single_image,
            conformance.check_modes,
            conformance.check_half_precision,
            conformance.check_channels_last,
        ):
            self.keeps(check)

    def test_the_same_seed_trains_the_same_network(self) -> None:
        """Bit for bit."""
        self.keeps(conformance.check_repeatable)
