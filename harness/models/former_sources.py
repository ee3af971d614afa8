"""What training version 2 took for the hash of networks whose code has not changed since.

A row of an earlier database carries the former hash; as long as a network's own is today's, the two compute the same,
and nothing is trained again. A network that changes leaves this table behind: what it scored before is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Former:
    """A network whose code computes what it did."""

    today: str
    """Its hash."""
    former: str
    """The hash of code that computes the same, up to training version 2."""
    same: Callable[[Params], bool] = lambda params: True
    """With which parameters it computes the same."""


def _without_imagenet(params: Params) -> bool:
    """ImageNet weights once left out fc6 and fc7."""
    return bool(params.get("pretrained", "none") == "none")


def _normalized_fcn(params: Params) -> bool:
    """Without normalization, the skips once had the scales of Caffe's weights."""
    return bool(params.get("norm")) and _without_imagenet(params)


def _third_version(params: Params) -> bool:
    """The heads of DeepLab v1 and v2 were options of v3 before they had networks of their own."""
    return bool(params.get("head", "v3") == "v3")


FORMER_SOURCES: dict[str, Former] = {
    "fcn32s": Former(
        "3e413d3d804822eaeed699032ba27212f53bb3fe4e022a88506cd77cf38fba71",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
        _without_imagenet,
    ),
    "fcn16s": Former(
        "1f89afb2e334098c1d5f129843cccd6097bd2e41855cc9e5eb0987eb6d64810a",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
        _normalized_fcn,
    ),
    "fcn8s": Former(
        "d1cbb0af9e47ba447e3d4d70aa4bb02e6fcd03166f0fbb288603702d527ae487",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
        _normalized_fcn,
    ),
    "unet": Former(
        "c7616549fb9560344214b85170cde1127dbb49b9586e01f1d8879f6b8f9daf80",
        "a003531667a0442e0701493ee2c709608a75a79e2102d4ba05a2afd15e3a9ecc",
    ),
    "unetpp": Former(
        "6ff0b9a2468a1873783da20ddf7ddad6a684637e815365d46c3abc001a2b326b",
        "db8eb6e6cf53daf7f3e33fb59da1e3acce07337d4c5b3abfc0b7f0a1fb8be7dc",
    ),
    "segnet": Former(
        "f1354f24be1a0e4841750ba766c638a64818e2ffd77c4acd01be02b8aa99886a",
        "8d54f6d2d8bc348a053842b51aa2cd431e45c5437e6bb6ac2b552e727bf05880",
    ),
    "refinenet": Former(
        "a2f0ae3497dcb6a9ec297bad92b132f755b976a0a4c59124d79d8375b8d33cf8",
        "2d11252d4f2659ee5e556828dd7fc08d2d07feff6c27bbbaaf02e73a0d1d2674",
    ),
    "pspnet": Former(
        "774f621029ce9ba720939faa6506047f133ec894a7cfbe7cb31577dd99e35685",
        "b3026f91104b9eccd6ec8d64997ca6386ed46d647bdbb8f8cdef907ca20ffa37",
    ),
    "deeplabv3": Former(
        "3a6b2fb5be43539e35b6d4a3ab4c045d13054610ba83e11a6254df4451b848b3",
        "7217476f3bc4ec59409e9a9e2e2247404c7c9e731fc27afdfe36c1f2578440be",
        _third_version,
    ),
    "deeplabv3plus": Former(
        "ac78ef3111a5e26060e13146c54305b7c196494de215e73d5f866d58c0f1ed55",
        "7217476f3bc4ec59409e9a9e2e2247404c7c9e731fc27afdfe36c1f2578440be",
    ),
    "bisenet": Former(
        "1895faf976304b19e1d1ca79f3a651fb66643ace4933551722ae031fd58f0a00",
        "079de750799647eabd932b43c4c6f11da0f84dd90008dc24236b543bd707a0e5",
    ),
    "emanet": Former(
        "ecbeb203bdf1d2061cd6d31980e32f58cedc57f82f0a3089435c2ebe20915e99",
        "8725a1ecf39baf26227ee58ec078ff4f3e51fc697a5421dc7a15bac69b63f0e7",
    ),
    "segformer": Former(
        "f2c1defc6e1d896ec546bea99e71803211f24321b2aaf510f7bfb6cbf49f7eac",
        "c24eaafce2896729f91fda42b46e7dbc47660609327457ec425a98e76a5de159",
    ),
}
