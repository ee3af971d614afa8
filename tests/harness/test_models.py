from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.errors import BenchError, PluginError, UnknownName, WeightsError
from harness.models import build
from harness.models.blocks.fcn import bilinear_up
from harness.models.registry import find_model, known_models, read_plugin
from harness.models.sources import covered_modules, module_hash
from harness.models.zoo import TORCHVISION
from harness.testing import ModelContract
from tests.conftest import ROOT

SMALL = {
    "fcn32s": {"width": 4, "hidden": 8},
    "fcn16s": {"width": 4, "hidden": 8},
    "fcn8s": {"width": 4, "hidden": 8, "padding": "same", "norm": True},
    "fcn_resnet": {"backbone": "resnet18", "width": 8, "channels": 8},
    "unet": {"width": 4},
    "unet_lite": {"channels": (8, 8, 8, 4)},
    "unet_strided": {"width": 4},
    "unetpp": {"width": 4},
    "segnet": {"width": 4},
    "refinenet": {"backbone": "resnet18", "width": 8, "channels": 8},
    "pspnet": {"backbone": "resnet18", "width": 8, "channels": 8},
    "deeplabv1": {"width": 4, "hidden": 16},
    "deeplabv2": {"backbone": "resnet18", "width": 8},
    "deeplabv3": {"backbone": "resnet18", "width": 8, "channels": 8},
    "bisenet": {"width": 8},
    "emanet": {"backbone": "resnet18", "width": 8, "channels": 16, "bases": 8},
    "segformer": {"width": 8, "decoder": 16},
    "deeplabv3plus": {"backbone": "resnet18", "width": 4, "channels": 8},
    "danet": {"backbone": "resnet18", "width": 8, "channels": 16},
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
        ("deeplabv3plus", {"backbone": "resnet101"}, 59_344_309),
        ("deeplabv3plus", {"decoder_convs": 1, "separable": True}, 26_614_373),
        ("unetpp", {"deep_supervision": False}, 9_163_989),
        ("unetpp", {}, 9_166_068),
        ("unetpp", {"level": 1, "deep_supervision": False}, 103_701),
        ("unetpp", {"level": 2, "deep_supervision": False}, 519_765),
        ("unetpp", {"level": 3, "deep_supervision": False}, 2_236_821),
        ("emanet", {}, 34_781_397),
        ("emanet", {"backbone": "resnet101"}, 53_773_525),
        ("emanet", {"deep_stem": False}, 34_781_397 - 123_776),
        ("pspnet", {"aux": False}, 46_716_373),
        ("pspnet", {}, 46_716_373 + 2_365_205),
        ("pspnet", {"backbone": "resnet101", "aux": False}, 65_708_501),
        ("segnet", {}, 29_455_125),
        ("bisenet", {"aux": False}, 13_276_053),
        ("bisenet", {}, 13_426_495),
        ("segformer", {}, 3_719_541),
        ("segformer", {"variant": "b5"}, 84_609_493),
    ],
)
def test_parameter_counts_are_those_of_the_reference_implementations(
    name: str, params: dict[str, object], expected: int
) -> None:
    with torch.device("meta"):
        assert count(build(name, 21, **params)) == expected


@pytest.mark.parametrize(
    ("name", "classes", "params", "expected"),
    [
        ("unet_strided", 3, {}, 32_090_627),
        ("unetpp", 1, {"norm": False, "up": "learned", "deep_supervision": False, "in_channels": 1}, 9_041_601),
        ("segnet", 11, {}, 29_449_355),
        ("segformer", 150, {"variant": "b0"}, 3_752_694),
        ("segformer", 150, {"variant": "b1"}, 13_715_798),
        ("segformer", 150, {"variant": "b2"}, 27_461_974),
        ("segformer", 150, {"variant": "b3"}, 47_337_814),
        ("segformer", 150, {"variant": "b4"}, 64_108_374),
        ("segformer", 150, {"variant": "b5"}, 84_708_694),
    ],
)
def test_parameter_counts_with_other_classes(name: str, classes: int, params: dict[str, object], expected: int) -> None:
    with torch.device("meta"):
        assert count(build(name, classes, **params)) == expected


def test_small_forms_are_listed_for_every_network() -> None:
    assert set(SMALL) == {name for name, entry in known_models().items() if entry.origin == "built in"}


class TestContract(ModelContract):
    """Every network of the project, in its small form."""

    @pytest.fixture(autouse=True, params=SMALL)
    def chosen(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param
        self.stride = find_model(self.name).stride

    def build(self, num_classes: int) -> torch.nn.Module:
        return build(self.name, num_classes, **SMALL[self.name])


class TestStrangersContract(ModelContract):
    """The example of docs/add-a-model.md."""

    stride = 4

    def build(self, num_classes: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, num_classes, 1)
        )


class Forgetful(TestStrangersContract):
    """A network that breaks the contract: it draws in evaluation, too."""

    __test__ = False

    def build(self, num_classes: int) -> torch.nn.Module:
        class Noisy(torch.nn.Conv2d):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x) + torch.rand(1)

        return Noisy(3, num_classes, 1)


def test_the_contract_finds_a_network_that_breaks_it() -> None:
    with pytest.raises(AssertionError):
        Forgetful().test_prediction_repeats_itself_and_changes_nothing()
    Forgetful().test_every_trainable_parameter_gets_a_gradient()


def test_deeplab_sees_513_pixels_as_129_and_33() -> None:
    encoder = build("deeplabv3plus", 2, backbone="resnet50", width=8).encoder
    with torch.no_grad():
        sizes = [tuple(f.shape[-2:]) for f in encoder.eval()(torch.zeros(1, 3, 513, 513))]  # type: ignore[operator]
    assert sizes == [(129, 129), (65, 65), (33, 33), (33, 33)]


def test_dilated_stages_follow_torchvisions_rule() -> None:
    layer4 = build("deeplabv3plus", 2, backbone="resnet50", width=8).encoder.layer4  # type: ignore[union-attr]
    assert [block.conv2.dilation for block in layer4] == [(1, 1), (2, 2), (2, 2)]  # type: ignore[union-attr]


def test_resnet_takes_torchvisions_weights_and_computes_the_same() -> None:
    from harness.models.blocks.resnet import resnet
    from harness.utils.vision import import_torchvision

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
    from harness.utils.vision import import_torchvision

    import_torchvision()
    from torchvision.models import ResNet50_Weights

    from harness.models.blocks import weights

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
    assert len(set(hashes.values())) == len(hashes)
    covered = {name: set(covered_modules(f"harness.models.{name}")) for name in ("unet", "fcn8s", "deeplabv3plus")}
    blocks = "harness.models.blocks"
    assert covered == {
        "unet": {"harness.models.unet"},
        "fcn8s": {"harness.models.fcn8s", f"{blocks}.fcn", f"{blocks}.vgg", f"{blocks}.weights"},
        "deeplabv3plus": {"harness.models.deeplabv3plus"}
        | {
            f"{blocks}.{name}"
            for name in ("aspp", "efficientnet_lite", "heads", "resnet", "upsampling", "weights", "xception")
        },
    }


NETWORK = """
NAME = "{name}"
SUMMARY = "{summary}"
STRIDE = {stride}


def build(num_classes):
    from .part import layer

    return layer(num_classes)
"""
PART = "from torch import nn\n\n\ndef layer(classes):\n    return nn.Conv2d(3, classes, {kernel})\n"


def hash_of_package(folder: Path, package: str, monkeypatch: pytest.MonkeyPatch, **values: object) -> str:
    """The hash of a network in a package that is written for it."""
    home = folder / package
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("raise SystemExit('this was imported')\n")
    words = {"name": "n", "summary": "s", "stride": 8, "kernel": 3} | values
    (home / "net.py").write_text(NETWORK.format(**words))
    (home / "part.py").write_text(PART.format(**words))
    with monkeypatch.context() as patched:
        patched.syspath_prepend(str(folder))
        return module_hash(f"{package}.net")


def test_the_source_hash_says_what_is_built_and_not_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hash_of(package: str, **values: object) -> str:
        return hash_of_package(tmp_path / package, package, monkeypatch, **values)

    first = hash_of("net_a")
    assert hash_of("net_b") == first, "another place"
    assert hash_of("net_c", name="other", summary="better words") == first, "other words about it"
    assert hash_of("net_d", stride=16) != first
    assert hash_of("net_e", kernel=5) != first, "a part it imports from its own package"


def test_a_package_that_is_the_network_itself_is_followed_into_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for kernel in (3, 5):
        home = tmp_path / str(kernel) / f"whole_{kernel}"
        home.mkdir(parents=True)
        (home / "__init__.py").write_text("from .part import layer\n\nbuild = layer\n")
        (home / "part.py").write_text(PART.format(kernel=kernel))
        monkeypatch.syspath_prepend(str(home.parent))
        hashes.append(module_hash(home.name))
    assert hashes[0] != hashes[1]


def test_networks_are_found_and_hashed_without_importing_torch() -> None:
    code = (
        "import sys\nfrom harness.models.registry import known_models\n"
        "found = [e.source_hash for e in known_models().values() if e.origin == 'built in']\n"
        "print(len(found), 'torch' in sys.modules, 'harness.models.unet' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == [str(len(SMALL)), "False", "False"]


def test_a_network_says_about_itself_what_the_list_shows() -> None:
    entry = find_model("unet_strided")
    assert (entry.target, entry.stride, entry.license) == ("harness.models.unet_strided:build", 16, "Apache-2.0")
    assert entry.paper == "after Ronneberger et al., U-Net, MICCAI 2015"


PLUGIN = 'NAME = "mine"\nSTRIDE = 8\n\ndef build(num_classes):\n    return None\n'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PLUGIN.replace("NAME =", "TITLE ="), "has no constant NAME"),
        (PLUGIN.replace("def build", "def make"), "has no function build"),
        (PLUGIN.replace("return None", "return ("), "mine.py:5: not valid Python"),
        (PLUGIN.replace('"mine"', '"unet"'), "is taken"),
        (PLUGIN.replace("STRIDE = 8", "STRIDE = 0"), "must be a whole number"),
        (PLUGIN.replace("STRIDE = 8", "STRIDE = {[1]: 2}"), "must be a whole number"),
        (PLUGIN.replace('"mine"', "{[1]: 2}"), "has no constant NAME"),
        (PLUGIN.replace('"mine"', " + ".join(["1"] * 3000)), "has no constant NAME|not valid Python"),
        (PLUGIN + "(" * 300 + ")" * 300, "not valid Python"),
    ],
)
def test_a_broken_plugin_says_what_it_lacks(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(PluginError, match=message):
        read_plugin(path)


@pytest.mark.parametrize("line", ["LICENSE = 'MIT'", "LICENSE: str = 'MIT'"])
def test_a_license_counts_in_either_spelling(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{line}\nOTHER = {{[1]: 2}}\nLONG = {' + '.join(['1'] * 1000)}\n{PLUGIN}")
    assert read_plugin(path).license == "MIT"


def test_reading_a_plugin_runs_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN + "raise SystemExit('this ran')\n")
    assert read_plugin(path).stride == 8


def test_unets_valid_convolutions_turn_572_pixels_into_388_and_score_every_pixel() -> None:
    model = build("unet", 2, width=2, padding="valid").eval()
    with torch.no_grad():
        assert model.tile(torch.zeros(1, 3, 572, 572)).shape[-2:] == (388, 388)  # type: ignore[operator]
        for size in ((16, 48), (208, 224)):
            assert model(torch.zeros(1, 3, *size)).shape[-2:] == size
    same = build("unet", 2, width=2).eval()
    same.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        # Far from the border, where mirroring and zeros differ, both are the same network.
        assert torch.allclose(model(x)[..., 112:144, 112:144], same(x)[..., 112:144, 112:144], atol=1e-5)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_pruned_unetpp_equals_that_head_of_the_whole_network(level: int) -> None:
    torch.manual_seed(0)
    whole = build("unetpp", 3, width=4)
    x = torch.randn(2, 3, 64, 64)
    for module in whole.modules():  # in training for its heads, with running statistics that stay
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    whole.training = True
    with torch.no_grad():
        heads = whole(x)
        expected = heads["out"] if level == 4 else heads[f"level{level}"]
        whole.eval()
        whole.level = level
        assert torch.equal(whole(x), expected)
        alone = build("unetpp", 3, width=4, level=level).eval()
        alone.load_state_dict({k: v for k, v in whole.state_dict().items() if k in alone.state_dict()})
        assert torch.equal(alone(x), expected)


@pytest.mark.parametrize("name", SMALL)
def test_images_of_odd_sizes_are_padded_to_the_stride_and_cut_back(name: str) -> None:
    from harness.config.recipe import Recipe
    from harness.scoring.predict import forward

    model = build(name, 3, **SMALL[name]).eval()
    images = torch.randint(0, 256, (1, 3, 67, 45), dtype=torch.uint8)
    with torch.no_grad():
        out = forward(model, images, Recipe(epochs=1), 3, find_model(name).stride)
    assert out.shape == (1, 3, 67, 45)


def test_auxiliary_heads_are_there_in_training_only() -> None:
    x = torch.randn(2, 3, 64, 64)
    expected = {
        "pspnet": {"out", "aux"}, "bisenet": {"out", "aux16", "aux32"},
        "unetpp": {"out", "level1", "level2", "level3"}, "danet": {"out", "position", "channel"},
        "fcn_resnet": {"out", "aux"},
    }  # fmt: skip
    for name, keys in expected.items():
        model = build(name, 3, **SMALL[name])
        assert set(model(x)) == keys
        assert isinstance(model.eval()(x), torch.Tensor)


def test_deeplabv3_has_as_many_parameters_as_torchvisions() -> None:
    from harness.utils.vision import import_torchvision

    import_torchvision()
    from torchvision.models.segmentation import deeplabv3_resnet50

    with torch.device("meta"):
        theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=None)
        assert count(build("deeplabv3", 21, output_stride=8)) == count(theirs)


def test_segformer_drops_whole_branches_in_training_only() -> None:
    torch.manual_seed(0)
    model = build("segformer", 3, width=8, decoder=16, drop_path=0.9)
    x = torch.randn(1, 3, 64, 64)
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


# Forms of the papers' widths that are quicker to build. DeepLab v2's paper draws its classifier from N(0, 0.01): its
# sum over 4·9·2048 inputs of ResNet-101 starts a whole unit above chance on features that nothing has trained.
AT_START: dict[str, dict[str, object]] = {
    "refinenet": {"backbone": "resnet50"}, "deeplabv2": {"backbone": "resnet18"},
    "deeplabv3plus": {"head": "mmseg"}, "fcn8s": {"hidden": 512}, "fcn16s": {"hidden": 512}, "fcn32s": {"hidden": 512},
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_new_network_is_no_surer_than_chance(name: str) -> None:
    """The cross-entropy of 21 equal chances is ln 21 = 3.04; logits of some ±4 make it 7, and gradients as large."""
    torch.manual_seed(0)
    model = build(name, 21, **AT_START.get(name, {})).train()
    with torch.no_grad():
        out = model(torch.randn(2, 3, 64, 64))
    target = torch.randint(0, 21, (2, 64, 64))
    for logits in out.values() if isinstance(out, dict) else [out]:
        assert float(torch.nn.functional.cross_entropy(logits, target)) == pytest.approx(math.log(21), abs=0.6)


@pytest.mark.parametrize(
    ("name", "own", "classifier"),
    [("emanet", {"backbone": "resnet18", "width": 8}, "classify.1"), ("segformer", {}, "head")],
)
def test_classifiers_start_as_pytorchs_convolutions(name: str, own: dict[str, object], classifier: str) -> None:
    """U(±1/√fan_in): a deviation of .036 for 256 channels; by their fan-out it would be .31."""
    torch.manual_seed(0)
    layer = build(name, 21, **own).get_submodule(classifier)
    assert layer.weight.shape == (21, 256, 1, 1)  # type: ignore[union-attr]
    assert float(layer.weight.detach().std()) == pytest.approx(1 / (3 * 256) ** 0.5, rel=0.05)  # type: ignore[arg-type, operator]


def test_deep_stems_have_no_imagenet_weights() -> None:
    with pytest.raises(WeightsError, match="plain stem"):
        build("pspnet", 3, pretrained="imagenet")


# Steps on one batch of four images; most networks need far fewer. FCN-16s learns in leaps: whether it first passes the
# floor after 130 steps or after 160 differs with the last bits of a processor's sums; by 250 it is far beyond.
OVERFIT_STEPS = 300


def four_images(side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Large ellipses of two kinds on a noisy ground: even a network that scores at 1/16 can draw them."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    target = torch.zeros(4, side, side, dtype=torch.long)
    for n in range(4):
        for kind, centre in ((1, 0.3), (2, 0.7)):
            cy, cx = side * (0.35 + 0.1 * n), side * centre
            target[n][((y - cy) / (side * 0.28)) ** 2 + ((x - cx) / (side * 0.17)) ** 2 < 1] = kind
    colors = torch.tensor([[0.2, 0.3, 0.4], [0.8, 0.2, 0.1], [0.1, 0.7, 0.8]])
    images = colors[target].permute(0, 3, 1, 2) + 0.1 * torch.randn(4, 3, side, side, generator=generator)
    return (images - 0.45) / 0.25, target


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_network_in_its_small_form_overfits_four_images(name: str) -> None:
    from harness.metrics import Evaluator, Protocol
    from harness.scoring.predict import label_map

    own = dict(SMALL[name]) | {
        "fcn32s": {"padding": "same", "norm": True, "upsampling": "learned", "hidden": 32},
        "fcn16s": {"padding": "same", "norm": True, "upsampling": "learned", "hidden": 32},
        "fcn8s": {"upsampling": "learned", "hidden": 32},
        "unet_strided": {"dropout": (0.0, 0.0)},
        "segnet": {"width": 8},
        "segformer": {"drop_path": 0.0},
        "pspnet": {"width": 8, "channels": 32},
        "deeplabv1": {"norm": True, "hidden": 32},
        "deeplabv3": {"output_stride": 8, "channels": 32},
        "deeplabv3plus": {"width": 8, "channels": 32},
        "emanet": {"channels": 32, "bases": 16},
        "danet": {"channels": 32},
    }.get(name, {})
    torch.manual_seed(0)
    x, target = four_images()
    model = build(name, 3, **own)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if name == "refinenet" else 1e-2)
    # FCN-32s has nine scores for 96×96 pixels and nothing finer, DeepLab v1 one for each 8×8.
    floor = {"fcn32s": 0.80, "deeplabv1": 0.90}.get(name, 0.95)
    found = 0.0
    for step in range(OVERFIT_STEPS):
        model.train()
        out = model(x)
        outputs = list(out.values()) if isinstance(out, dict) else [out]
        loss = torch.stack([torch.nn.functional.cross_entropy(o, target) for o in outputs]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            evaluator = Evaluator(3, protocol=Protocol(trimap_radii=(1,), trimap_headline=1))
            evaluator.update(torch.stack([label_map(one.detach()) for one in outputs[0]]), target)
            found = evaluator.compute().values["miou"] or 0.0
            if found >= floor:
                break
    assert found >= floor, f"{name}: {found:.3f} after {step + 1} steps"


def test_every_listed_network_can_be_measured_and_says_its_license() -> None:
    from harness.models.size import measure, measure_all

    entries = [e for e in known_models().values() if e.origin in ("built in", "torchvision")]
    assert len(entries) == len(SMALL) + len(TORCHVISION)
    assert all(e.license for e in entries)
    assert all(e.paper for e in entries if e.origin == "built in")
    found = measure_all(e for e in entries if e.name in ("segformer", "bisenet"))
    assert found["segformer"] is not None
    assert found["segformer"][0] == 3_719_541
    # One 1×1 convolution: a multiplication and an addition for each weight and pixel.
    small = find_model("unet_strided")
    parameters, flops = measure(small, num_classes=2, side=16, width=1)
    twice = measure(small, num_classes=2, side=32, width=1)
    assert twice == (parameters, 4 * flops)


def test_networks_of_segmentation_models_pytorch_can_be_named() -> None:
    pytest.importorskip("segmentation_models_pytorch", reason="the extra zoo is not installed")
    entry = find_model("smp/Unet/resnet18")
    model = entry.load()(5)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 5, 64, 64)
    assert entry.source_hash != find_model("unet").source_hash
    with pytest.raises(BenchError, match="no such architecture or encoder"):
        find_model("smp/Unet/resnet19").load()(5)
    with pytest.raises(PluginError, match="smp/ARCHITECTURE/ENCODER"):
        find_model("smp/Unet")


def test_a_zoo_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PluginError) as caught:
        find_model("smp/Unet/resnet18")
    assert "segbench[zoo]" in str(caught.value)
