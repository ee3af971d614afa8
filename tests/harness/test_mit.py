"""SegFormer's encoder takes weights in the authors' layout and in that of transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.errors import WeightsError
from harness.models import build
from harness.models.blocks.mit import mit_state
from harness.models.registry import find_model

FILE = Path("mit_b0.pth")


def encoder(**params: Any) -> nn.ModuleList:
    stages = build("segformer", 2, decoder=8, **params).stages
    assert isinstance(stages, nn.ModuleList)
    return stages.eval()


def features(stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    found = []
    with torch.no_grad():
        for stage in stages:
            x = stage(x)
            found.append(x)
    return found


def authors(stages: nn.ModuleList) -> dict[str, Tensor]:
    """The weights under the names of the authors' `mit_b0.pth`, written out layer by layer, and its classifier."""
    found: dict[str, Tensor] = {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}

    def put(name: str, layer: Any) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = layer.weight.detach(), layer.bias.detach()

    for n, stage in enumerate(stages, start=1):
        put(f"patch_embed{n}.proj", stage.patch)
        put(f"patch_embed{n}.norm", stage.norm_patch)
        put(f"norm{n}", stage.norm)
        for m, block in enumerate(stage.blocks):  # type: ignore[arg-type]
            put(f"block{n}.{m}.norm1", block.norm1)
            put(f"block{n}.{m}.norm2", block.norm2)
            put(f"block{n}.{m}.attn.q", block.attention.query)
            put(f"block{n}.{m}.attn.kv", block.attention.key_value)
            put(f"block{n}.{m}.attn.proj", block.attention.project)
            if n < 4:
                put(f"block{n}.{m}.attn.sr", block.attention.reduce)
                put(f"block{n}.{m}.attn.norm", block.attention.norm)
            put(f"block{n}.{m}.mlp.fc1", block.ffn.widen)
            put(f"block{n}.{m}.mlp.dwconv.dwconv", block.ffn.mix)
            put(f"block{n}.{m}.mlp.fc2", block.ffn.narrow)
    return found


def transformers_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights under the names that transformers writes."""
    names = [
        ("attn.proj", "attention.output.dense"), ("attn.q", "attention.self.query"), ("attn.sr", "attention.self.sr"),
        ("attn.norm", "attention.self.layer_norm"), ("mlp.fc1", "mlp.dense1"), ("mlp.fc2", "mlp.dense2"),
        ("norm1.", "layer_norm_1."), ("norm2.", "layer_norm_2."),
    ]  # fmt: skip
    found = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        stage = int(first[-1]) - 1 if first[-1].isdigit() else None
        if first.startswith("block"):
            for theirs, other in names:
                rest = rest.replace(theirs, other)
            before = f"segformer.encoder.block.{stage}.{rest}"
            if ".attn.kv." in before:
                half = len(value) // 2
                found[before.replace("attn.kv", "attention.self.key")] = value[:half]
                found[before.replace("attn.kv", "attention.self.value")] = value[half:]
                continue
            found[before] = value
        elif first.startswith("patch_embed"):
            found[f"segformer.encoder.patch_embeddings.{stage}.{rest.replace('norm', 'layer_norm')}"] = value
        elif first.startswith("norm"):
            found[f"segformer.encoder.layer_norm.{stage}.{rest}"] = value
        else:
            found[f"classifier.{rest}"] = value
    return found


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights are placed by hand."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("layout", ["authors", "transformers", "transformers, the encoder alone", "in parallel"])
@pytest.mark.parametrize("ending", [".pth", ".bin"])
def test_a_file_placed_by_hand_gives_the_same_features_in_either_layout(hub: Path, layout: str, ending: str) -> None:
    torch.manual_seed(0)
    first = encoder()
    state = authors(first)
    if layout.startswith("transformers"):
        state = transformers_layout(state)
    if layout.endswith("alone"):
        state = {n.removeprefix("segformer."): v for n, v in state.items() if not n.startswith("classifier")}
    if layout == "in parallel":
        state = {f"module.{name}": value for name, value in state.items()}
    torch.save(state, hub / f"mit_b0{ending}")
    second = encoder(pretrained="imagenet")
    x = torch.randn(1, 3, 64, 96)
    assert not torch.allclose(features(encoder(), x)[-1], features(first, x)[-1])
    for one, two in zip(features(first, x), features(second, x), strict=True):
        assert torch.equal(one, two)


def test_keys_and_values_are_not_exchanged(hub: Path) -> None:
    state = transformers_layout(authors(encoder()))
    swapped = {n.replace("self.key", "self.VALUE").replace("self.value", "self.key"): v for n, v in state.items()}
    swapped = {n.replace("self.VALUE", "self.value"): v for n, v in swapped.items()}
    found = []
    for one in (state, swapped):
        torch.save(one, hub / FILE)
        found.append(features(encoder(pretrained="imagenet"), torch.ones(1, 3, 64, 64).cumsum(-1) / 64))
    assert not torch.allclose(found[0][-1], found[1][-1])


def test_the_declared_backbone_is_exactly_what_the_weights_fill(hub: Path) -> None:
    torch.save({n: torch.full(v.shape, 0.5) for n, v in authors(encoder()).items()}, hub / FILE)
    model = build("segformer", 2, pretrained="imagenet")
    filled = {n for n, v in model.named_parameters() if bool((v == 0.5).all())}
    assert find_model("segformer").backbone == ("stages",)
    assert filled == {n for n, _ in model.named_parameters() if n.startswith("stages.")}


@pytest.mark.parametrize("kind", ["image classification", "encoder"])
def test_transformers_own_network_computes_the_same_features(hub: Path, kind: str) -> None:
    from harness.utils.vision import import_torchvision

    import_torchvision()  # which transformers imports, too
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    torch.manual_seed(0)
    name = "SegformerForImageClassification" if kind == "image classification" else "SegformerModel"
    theirs = getattr(transformers, name)(transformers.SegformerConfig()).eval()
    for parameter in theirs.parameters():  # off the zeros and ones that normalizations and biases start from
        nn.init.normal_(parameter, mean=0.02, std=0.1)
    theirs.save_pretrained(hub / "own")
    shutil.move(hub / "own" / "model.safetensors", hub / "mit_b0.safetensors")
    ours = encoder(pretrained="imagenet")
    x = torch.randn(2, 3, 96, 64)
    inner = theirs.segformer if kind == "image classification" else theirs
    with torch.no_grad():
        expected = inner(x, output_hidden_states=True).hidden_states
    for one, two in zip(features(ours, x), expected, strict=True):
        # Theirs has 1e-5 for the epsilon of all normalizations, the paper's code and ours 1e-6 for most.
        assert torch.allclose(one, two, rtol=1e-3, atol=1e-3)


def test_a_missing_file_says_where_it_belongs_and_why_it_is_not_fetched(hub: Path) -> None:
    with pytest.raises(WeightsError, match="non-commercial") as told:
        build("segformer", 2, variant="b2", pretrained="imagenet")
    assert str(hub / "mit_b2.pth") in str(told.value.hint)
    assert "pretrained: none" in str(told.value.hint)


def test_weights_of_another_variant_are_refused() -> None:
    small, wide, deep = encoder(), encoder(variant="b1"), encoder(variant="b2")
    with pytest.raises(WeightsError, match=r"has shape \(64, 3, 7, 7\), expected \(32, 3, 7, 7\)"):
        mit_state(authors(wide), small, FILE)
    # Of the same width: too few blocks, and too many.
    with pytest.raises(WeightsError, match=r"no block1\.2\.norm1\.weight"):
        mit_state(authors(wide), deep, FILE)
    with pytest.raises(WeightsError, match=r"unexpected block1\.2"):
        mit_state(authors(deep), wide, FILE)


def test_weights_that_were_trained_for_segmentation_are_not_taken_for_imagenets() -> None:
    state = transformers_layout(authors(encoder())) | {"decode_head.classifier.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match="trained for segmentation"):
        mit_state(state, encoder(), FILE)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"], ids=["empty", "a web page"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_is_named(hub: Path, content: bytes, ending: str) -> None:
    (hub / f"mit_b0{ending}").write_bytes(content)
    with pytest.raises(WeightsError, match=f"mit_b0{ending}: (cannot be read|the package safetensors)"):
        build("segformer", 2, pretrained="imagenet")


def test_a_list_in_a_file_is_no_set_of_weights(hub: Path) -> None:
    torch.save([1, 2], hub / FILE)
    with pytest.raises(WeightsError, match="holds no weights by name"):
        build("segformer", 2, pretrained="imagenet")


def test_other_widths_and_other_words_have_no_weights() -> None:
    with pytest.raises(WeightsError, match="not for width 8"):
        build("segformer", 2, width=8, pretrained="imagenet")
    with pytest.raises(WeightsError, match="use 'imagenet' or 'none'"):
        build("segformer", 2, pretrained="ade")
