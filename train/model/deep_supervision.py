"""Deep supervision: in training, coarse levels of the decoder have outputs and losses of their own.

Each level below the finest has a 1x1 convolution, and a loss of half the weight of the next finer one (Lee et
al. 2015; halves as in nnU-Net, Isensee et al. 2021). The network that is validated and saved has none of it.
"""

from torch import Tensor, nn
from torch.nn.utils import skip_init

from synthspine.train.model.unet import UNet

COARSE_LEVELS = 3
"""Levels below the finest that have outputs, where the network has as many."""


class DeepSupervision(nn.Module):
    """A network with outputs of its coarse levels, the finest first."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        levels = min(COARSE_LEVELS, network.levels - 2)
        self.heads = nn.ModuleList(
            skip_init(nn.Conv2d, network.base_features * 2**level, network.num_classes, kernel_size=1)
            for level in range(1, levels + 1)
        )
        for value in self.heads.parameters():
            nn.init.zeros_(value)
        self.heads.to(network.head.weight)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of all levels, the finest first, ``(B, K, H, W)``, ``(B, K, H / 2, W / 2)`` and so on."""
        features = self.network.decode(image)
        coarse = [head(map_) for head, map_ in zip(self.heads, features[1:], strict=False)]
        return [self.network.head(features[0]), *coarse]

    def targets(self, target: Tensor) -> list[Tensor]:
        """Targets of all levels from ``(B, H, W)``: a coarse pixel takes the centre of its block."""
        blocks = [2**level for level in range(1, len(self.heads) + 1)]
        return [target, *(target[:, block // 2 :: block, block // 2 :: block] for block in blocks)]

    @property
    def weights(self) -> list[float]:
        """Weight of the loss of every level, the finest first: 1, 1/2, 1/4 and so on."""
        return [0.5**level for level in range(len(self.heads) + 1)]
