from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.errors import PluginError, UnknownName, WeightsError
from harness.models import build
from harness.models.fcn import bilinear_up
from harness.registry import find_model, known_models, read_plugin

SMALL = {
    "fcn32s": {"width": 4, "hidden": 8},
    "fcn16s": {"width": 4, "hidden": 8},
    "fcn8s": {"width": 4, "hidden": 8, "padding": "same", "norm": True},
    "unet": {"width": 4},
    "deeplabv3plus": {"backbone": "resnet18", "width": 4, "channels": 8},
}


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("fcn32s", {}, 136_152_917),
        ("fcn16s", {}, 134_815_994),
        ("fcn8s", {}, 134_489_759),
        ("unet", {"norm": False}, 31_033_045),
        ("unet", {}, 31_038_933),
        ("deeplabv3plus", {"decoder_convs": 1}, 39_761_845),
        ("deeplabv3plus", {"decoder_convs": 1, "backbone": "resnet101"}, 58_753_973),
        ("deeplabv3plus", {}, 40_352_181),
    ],
)
def test_parameter_counts_are_those_of_the_reference_implementations(
    name: str, params: dict[str, object], expected: int
) -> None:
    with torch.device("meta"):
        assert count(build(name, 21, **params)) == expected


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("multiple", [(1, 1), (3, 2)])
def test_logits_have_the_size_of_any_multiple_of_the_stride(name: str, multiple: tuple[int, int]) -> None:
    stride = find_model(name).stride
    size = (2 * stride * multiple[0], 2 * stride * multiple[1])
    out = build(name, 5, **SMALL[name])(torch.randn(2, 3, *size))
    assert out.shape == (2, 5, *size)


@pytest.mark.parametrize("name", SMALL)
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 3, **SMALL[name])
    # Scores start at zero in FCN: after one step everything behind them is reached.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        logits = model(torch.randn(2, 3, 64, 64))
        (logits * torch.randn_like(logits)).sum().backward()
        optimizer.step()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []


@pytest.mark.parametrize("name", SMALL)
def test_weights_that_are_saved_and_loaded_predict_the_same_bits(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, two = (build(name, 3, **SMALL[name]) for _ in range(2))
    x = torch.randn(1, 3, 64, 64)
    for parameter in one.parameters():  # so that nothing, not even a score that starts at zero, is alike
        torch.nn.init.normal_(parameter, std=0.1) if parameter.requires_grad else None
    torch.save(one.state_dict(), tmp_path / "w.pt")
    assert not torch.equal(one.eval()(x), two.eval()(x))
    two.load_state_dict(torch.load(tmp_path / "w.pt"))
    assert torch.equal(one(x), two(x))


def test_deeplab_sees_513_pixels_as_129_and_33() -> None:
    encoder = build("deeplabv3plus", 2, backbone="resnet50", width=8).encoder
    with torch.no_grad():
        sizes = [tuple(f.shape[-2:]) for f in encoder.eval()(torch.zeros(1, 3, 513, 513))]  # type: ignore[operator]
    assert sizes == [(129, 129), (65, 65), (33, 33), (33, 33)]


def test_dilated_stages_follow_torchvisions_rule() -> None:
    layer4 = build("deeplabv3plus", 2, backbone="resnet50", width=8).encoder.layer4  # type: ignore[union-attr]
    assert [block.conv2.dilation for block in layer4] == [(1, 1), (2, 2), (2, 2)]  # type: ignore[union-attr]


def test_resnet_takes_torchvisions_weights_and_computes_the_same() -> None:
    from harness.models.resnet import resnet
    from harness.vision import import_torchvision

    import_torchvision()
    from torchvision.models import resnet50

    torch.manual_seed(0)
    theirs = resnet50(weights=None).eval()
    ours = resnet("resnet50").eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")})
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x)))))
        expected = theirs.layer4(theirs.layer3(theirs.layer2(expected)))
        assert torch.equal(ours(x)[-1], expected)


@pytest.mark.parametrize("padding", ["paper", "same"])
def test_bilinear_upsampling_keeps_a_constant(padding: str) -> None:
    up = bilinear_up(2, 8, padding, "frozen")  # type: ignore[arg-type]
    assert not up.weight.requires_grad
    out = up(torch.ones(1, 2, 6, 6))
    inner = out[..., 12:-12, 12:-12]
    assert torch.allclose(inner, torch.ones_like(inner))


def test_learned_upsampling_is_trained() -> None:
    assert build("fcn32s", 2, width=4, hidden=8, upsampling="learned").up_final.weight.requires_grad  # type: ignore[union-attr]


def test_missing_weights_say_where_to_place_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    # A closed port: refused at once wherever the test runs.
    from harness.vision import import_torchvision

    import_torchvision()
    from torchvision.models import ResNet50_Weights

    from harness.models import weights

    monkeypatch.setattr(
        weights, "imagenet_or_none", lambda *_: _Elsewhere(ResNet50_Weights.IMAGENET1K_V1, "http://127.0.0.1:9/r.pth")
    )
    with pytest.raises(WeightsError) as caught:
        weights.imagenet_state("resnet50")
    assert str(tmp_path / "hub" / "checkpoints" / "r.pth") in str(caught.value)
    assert "pretrained: none" in str(caught.value)


class _Elsewhere:
    def __init__(self, weights: object, url: str) -> None:
        self.url = url

    def get_state_dict(self, **options: object) -> object:
        return torch.hub.load_state_dict_from_url(self.url, **options)  # type: ignore[arg-type]


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'unet'"):
        build("u-net", 2)


def test_the_source_hash_covers_the_networks_own_files_only() -> None:
    hashes = {name: entry.source_hash for name, entry in known_models().items() if entry.origin == "built in"}
    assert hashes["fcn8s"] == hashes["fcn16s"]
    assert hashes["unet"] != hashes["deeplabv3plus"]


PLUGIN = 'NAME = "mine"\nSTRIDE = 8\n\ndef build(num_classes):\n    return None\n'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PLUGIN.replace("NAME =", "TITLE ="), "has no constant NAME"),
        (PLUGIN.replace("def build", "def make"), "has no function build"),
        (PLUGIN.replace("return None", "return ("), "mine.py:5: not valid Python"),
        (PLUGIN.replace('"mine"', '"unet"'), "is taken"),
        (PLUGIN.replace("STRIDE = 8", "STRIDE = 0"), "must be a whole number"),
    ],
)
def test_a_broken_plugin_says_what_it_lacks(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(PluginError, match=message):
        read_plugin(path)


def test_reading_a_plugin_runs_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN + "raise SystemExit('this ran')\n")
    assert read_plugin(path).stride == 8
