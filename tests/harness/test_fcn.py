"""FCN: the classifier made convolutional, and skips that are heard."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.models import build
from harness.models.blocks import vgg
from harness.models.blocks.fcn import FCN, like_a_photograph
from harness.utils.vision import import_torchvision


@pytest.mark.slow
@pytest.mark.parametrize(
    "norm",
    [pytest.param(False, id="vgg16"), pytest.param(True, id="vgg16_bn", marks=[pytest.mark.slow, pytest.mark.long])],
)
def test_converted_weights_give_the_classifiers_logits(norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    from torchvision.models import vgg16, vgg16_bn

    torch.manual_seed(0)
    theirs = (vgg16_bn if norm else vgg16)(weights=None).eval()
    monkeypatch.setattr(vgg, "imagenet_state", lambda name: theirs.state_dict())
    ours = build("fcn32s", 2, padding="same", norm=norm, pretrained="imagenet").eval()
    assert isinstance(ours, FCN)
    with torch.no_grad():
        image = torch.randn(1, 3, 224, 224)
        _, fc7 = ours.features(image)
        # In the middle of its 7×7 places, fc6 sees just what the classifier sees.
        assert fc7.shape[-2:] == (7, 7)
        last: nn.Linear = theirs.classifier[6]
        logits = last(fc7[0, :, 3, 3])
        expected = theirs(image)[0]
        # A narrower one computes what some of the classifier's units do.
        narrow = build("fcn32s", 2, padding="same", norm=norm, hidden=1024, pretrained="imagenet").eval()
        seen = theirs.features(image)
        units = theirs.classifier[0](seen.flatten(1))[0]
        assert torch.allclose(narrow.fc6(seen)[0, :, 3, 3], units[::4], atol=1e-5, rtol=1e-4)  # type: ignore[operator]
    assert logits.shape == (1000,)
    assert expected.std() > 0.02
    assert torch.allclose(logits, expected, atol=1e-5, rtol=1e-4)


def heard(model: FCN) -> dict[str, float]:
    """How much of the output comes from fc7, pool4 and pool3, each with random scores of the same size."""
    layers: dict[str, nn.Conv2d] = {n: getattr(model, n) for n in ("score", "score_pool4", "score_pool3")}
    image = like_a_photograph(96)
    found = {}
    for name in layers:
        generator = torch.Generator().manual_seed(1)
        for other, layer in layers.items():
            layer.weight.data.zero_()
            if other == name:
                layer.weight.data.normal_(0, layer.in_channels**-0.5, generator=generator)
        with torch.no_grad():
            found[name] = float(model.eval()(image).square().mean().sqrt())
    return found


@pytest.mark.parametrize("padding", ["paper", "same"])
def test_every_skip_moves_the_output(padding: str) -> None:
    torch.manual_seed(0)
    shares = heard(build("fcn8s", 4, width=16, hidden=64, padding=padding))  # type: ignore[arg-type]
    for name in ("score_pool4", "score_pool3"):
        assert 0.2 < shares[name] / shares["score"] < 5, name


def test_every_skip_moves_the_output_of_large_and_of_small_activations() -> None:
    """Whatever size the weights give to their activations: the scales of one network do not fit another."""
    for factor in (0.01, 100.0):
        torch.manual_seed(0)
        model = build("fcn8s", 4, width=16, hidden=64, padding="same")
        assert isinstance(model, FCN)
        first = model.stages[0][0]  # type: ignore[index]
        with torch.no_grad():
            first.weight.mul_(factor)
            model.skip_scales.copy_(model._matching_scales())
        shares = heard(model)
        assert 0.2 < shares["score_pool3"] / shares["score"] < 5


def test_caffes_scales_silence_the_skips_of_a_network_that_sees_normalized_images() -> None:
    torch.manual_seed(0)
    shares = heard(build("fcn8s", 4, width=16, hidden=64, padding="same", skip_scale="caffe"))  # type: ignore[arg-type]
    assert shares["score_pool4"] < 0.05 * shares["score"]
    assert shares["score_pool3"] < 0.001 * shares["score"]


def test_without_scaling_the_scores_are_plainly_added() -> None:
    torch.manual_seed(0)
    model = build("fcn16s", 3, width=8, hidden=16, padding="same", skip_scale="none").eval()
    assert isinstance(model, FCN)
    for layer in (model.score, model.score_pool4):
        nn.init.normal_(layer.weight)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        pools, fc7 = model.features(image)
        added: Tensor = model.up2(model.score(fc7)) + model.score_pool4(pools[3])
        assert torch.equal(model(image), model.up_final(added))


def test_measured_scales_are_kept_with_the_weights() -> None:
    torch.manual_seed(0)
    trained = build("fcn8s", 3, width=8, hidden=16, padding="same")
    torch.manual_seed(1)
    other = build("fcn8s", 3, width=8, hidden=16, padding="same")
    assert not torch.equal(other.skip_scales, trained.skip_scales)  # type: ignore[arg-type]
    other.load_state_dict(trained.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(other.eval()(x), trained.eval()(x))


def test_an_unknown_scaling_is_refused() -> None:
    with pytest.raises(ValueError, match="match, caffe or none"):
        build("fcn8s", 3, width=8, hidden=16, skip_scale="big")
