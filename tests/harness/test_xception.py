"""The modified Xception, and the forms of separable convolutions in DeepLabV3+."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import WeightsError
from harness.models import build
from harness.models.blocks.xception import xception


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def by_hand() -> int:
    """Parameters by the table of the paper's figure 4; each convolution has a batch normalization of its own."""

    def conv(inside: int, outside: int, kernel: int) -> int:
        return kernel * kernel * inside * outside + 2 * outside

    def block(inside: int, *channels: int) -> int:
        total = 0
        for outside in channels:
            total += 9 * inside + 2 * inside + conv(inside, outside, 1)
            inside = outside
        return total

    entry = conv(3, 32, 3) + conv(32, 64, 3)
    for inside, outside in ((64, 128), (128, 256), (256, 728)):
        entry += block(inside, outside, outside, outside) + conv(inside, outside, 1)
    middle = 16 * block(728, 728, 728, 728)
    leaving = block(728, 728, 1024, 1024) + conv(728, 1024, 1) + block(1024, 1536, 1536, 2048)
    return entry + middle + leaving


def test_the_trunk_has_the_parameters_of_the_papers_table() -> None:
    with torch.device("meta"):
        assert count(xception()) == by_hand() == 37_867_312


@pytest.mark.parametrize(("output_stride", "sides"), [(8, (129, 65, 65, 65)), (16, (129, 65, 33, 33))])
def test_513_pixels_are_129_for_the_decoder_and_33_or_65_at_the_end(output_stride: int, sides: tuple[int, ...]) -> None:
    network = xception(output_stride, width=8, middle=2).eval()
    with torch.no_grad():
        features = network(torch.zeros(1, 3, 513, 513))
    assert tuple(f.shape[-1] for f in features) == sides
    assert [f.shape[1] for f in features] == network.channels == [32, 32, 91, 256]


def test_what_no_longer_strides_dilates_what_follows() -> None:
    def dilations(output_stride: int) -> list[int]:
        network = xception(output_stride, width=8, middle=1)
        parts = (network.entry3.third, network.middle[0].third, network.exit.third, network.last[0])  # type: ignore[union-attr]
        return [part[0].dilation[0] for part in parts]  # type: ignore[index, union-attr]

    assert dilations(32) == [1, 1, 1, 1]
    assert dilations(16) == [1, 1, 1, 2]
    assert dilations(8) == [1, 2, 2, 4]


def test_normalization_and_relu_stand_behind_every_depthwise_convolution_and_nothing_pools() -> None:
    network = xception(width=8, middle=1)
    depthwise = 0
    for module in network.modules():
        assert not isinstance(module, nn.MaxPool2d | nn.AvgPool2d)
        if isinstance(module, nn.Sequential) and len(module) == 5 and isinstance(module[0], nn.Conv2d):
            kinds = [type(layer) for layer in module]
            assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d]
            assert module[0].groups == module[0].in_channels
            depthwise += 1
    assert depthwise == sum(m.groups > 1 for m in network.modules() if isinstance(m, nn.Conv2d)) == 3 * 3 + 3 + 3 + 3


def test_a_shortcut_carries_what_the_convolutions_lose() -> None:
    network = xception(width=8, middle=1).eval()
    block = network.middle[0]
    x = torch.randn(1, 91, 8, 8)
    with torch.no_grad():
        for norm in (block.third[1], block.third[4]):  # type: ignore[index, union-attr]
            norm.weight.zero_()  # type: ignore[union-attr, operator]
        assert torch.equal(block(x), x)


def test_deeplab_on_xception_learns_from_every_part_of_it() -> None:
    torch.manual_seed(0)
    model = build("deeplabv3plus", 3, backbone="xception", width=8, channels=8, separable="paper")
    out = model(torch.randn(2, 3, 64, 96))
    assert out.shape == (2, 3, 64, 96)
    out.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_weights_that_do_not_exist_are_said_not_to() -> None:
    with pytest.raises(WeightsError, match="no ImageNet weights of the modified Xception"):
        build("deeplabv3plus", 2, backbone="xception", pretrained="imagenet")


def depthwise_of(model: nn.Module) -> list[nn.Sequential]:
    """The pairs of depthwise convolution and 1×1, with what stands between."""
    return [
        m
        for part in (model.aspp, model.decoder)
        for m in part.modules()  # type: ignore[union-attr]
        if isinstance(m, nn.Sequential) and isinstance(m[0], nn.Conv2d) and m[0].groups > 1
    ]


def test_the_papers_separable_convolutions_normalize_between_the_two_steps() -> None:
    small = {"backbone": "resnet18", "width": 4, "channels": 8}
    plain, papers = (build("deeplabv3plus", 2, separable=form, **small) for form in (True, "paper"))
    assert {len(pair) for pair in depthwise_of(plain)} == {2}
    pairs = depthwise_of(papers)
    # Three atrous convolutions of the pyramid, two of the decoder.
    assert [[type(layer) for layer in pair] for pair in pairs] == [[nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]] * 5
    added = sum(2 * pair[0].in_channels for pair in pairs)  # type: ignore[misc]
    assert count(papers) == count(plain) + added
    with torch.device("meta"):
        whole = {"decoder_convs": 1}
        both = [count(build("deeplabv3plus", 21, separable=form, **whole)) for form in (True, "paper")]
    # Three times ResNet-50's 2048 channels, and the decoder's 304.
    assert both == [26_614_373, 26_614_373 + 2 * (3 * 2048 + 304)]


def test_what_the_papers_relu_cuts_off_changes_the_output() -> None:
    torch.manual_seed(0)
    small = {"backbone": "resnet18", "width": 4, "channels": 8}
    plain = build("deeplabv3plus", 2, separable=True, **small).eval()
    papers = build("deeplabv3plus", 2, separable="paper", **small).eval()
    # The same weights in both: the pointwise convolution has moved from place 1 to place 3.
    for part in ("aspp", "decoder", "encoder", "reduce", "head"):
        own = getattr(papers, part).state_dict()
        for (name, value), weights in zip(
            [(n, v) for n, v in own.items() if not _between(papers, part, n)],
            getattr(plain, part).state_dict().values(),
            strict=True,
        ):
            assert value.shape == weights.shape, name
            value.copy_(weights)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(plain(x), papers(x), atol=1e-3)
        for pair in depthwise_of(papers):
            pair[2] = nn.Identity()
        # A new normalization in evaluation divides by the root of 1 + 1e-5 alone: without the ReLU both are the same.
        assert torch.allclose(plain(x), papers(x), atol=1e-3)


def _between(model: nn.Module, part: str, name: str) -> bool:
    """Whether a weight is that of a normalization between a depthwise convolution and its 1×1."""
    owner = model.get_submodule(f"{part}.{name}".rsplit(".", 1)[0])
    return any(owner is pair[1] for pair in depthwise_of(model) if len(pair) == 4)


def test_another_form_of_separable_convolutions_is_refused() -> None:
    with pytest.raises(ValueError, match="use false, true or paper"):
        build("deeplabv3plus", 2, separable="papers")
