"""The peers, in the order of docs/peers.md."""

from __future__ import annotations

from tests.peers.boundary_iou_cases import boundary_iou
from tests.peers.case import Peer
from tests.peers.davis_cases import davis
from tests.peers.mmseg_cases import mmsegmentation
from tests.peers.monai_cases import monai
from tests.peers.skimage_cases import scikit_image
from tests.peers.smp_cases import segmentation_models
from tests.peers.surface_distance_cases import surface_distance
from tests.peers.torchmetrics_cases import torchmetrics
from tests.peers.torchvision_cases import torchvision

PEERS: tuple[Peer, ...] = (
    torchmetrics(), monai(), surface_distance(), scikit_image(), davis(), boundary_iou(), mmsegmentation(),
    segmentation_models(), torchvision(),
)  # fmt: skip
