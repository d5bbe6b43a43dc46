"""Coarse answers, asked for in training alone: they tell the deep levels early where structures are.

Each of the next coarser levels of the decoder answers too, by a 1x1 convolution, and is judged at its own
resolution with half the weight of the next finer one (Lee et al. 2015; halves as in nnU-Net, Isensee et al.
2021, but the finest keeps the weight 1). A step takes about a twentieth longer. The network that is validated
and saved has none of it.
"""

from torch import Tensor, nn
from torch.nn.utils import skip_init

from synthspine.train.model.unet import UNet

COARSE_LEVELS = 3
"""Levels below the finest that answer too, where the network has as many."""


class DeepSupervision(nn.Module):
    """A network with answers of its coarse levels.

    Args:
        network: what is trained.
        levels: how many coarse levels answer, at most; 0 leaves the network as it is.

    Attributes:
        network: the same.
        heads: the 1x1 convolutions, from the finest of the coarse levels; their first weights are zero, so
            they need no seed.
    """

    def __init__(self, network: UNet, levels: int = COARSE_LEVELS) -> None:
        super().__init__()
        self.network = network
        levels = min(levels, network.levels - 2)
        self.heads = nn.ModuleList(
            skip_init(nn.Conv2d, network.base_features * 2**level, network.num_classes, kernel_size=1)
            for level in range(1, levels + 1)
        )
        for value in self.heads.parameters():
            nn.init.zeros_(value)
        self.heads.to(network.head.weight)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of all levels that answer, the finest first.

        Args:
            image: as for :class:`train.model.unet.UNet`, shape ``(B, C, H, W)``.

        Returns:
            Shapes ``(B, K, H, W)``, ``(B, K, H / 2, W / 2)`` and so on.
        """
        features = self.network.decode(image)
        coarse = [head(map_) for head, map_ in zip(self.heads, features[1:], strict=False)]
        return [self.network.head(features[0]), *coarse]

    def targets(self, target: Tensor) -> list[Tensor]:
        """What the levels are to answer: every pixel takes the class at the centre of its block.

        Args:
            target: classes, shape ``(B, H, W)``.

        Returns:
            The target and its coarser ones, shapes ``(B, H, W)``, ``(B, H / 2, W / 2)`` and so on.
        """
        blocks = [2**level for level in range(1, len(self.heads) + 1)]
        return [target, *(target[:, block // 2 :: block, block // 2 :: block] for block in blocks)]

    @property
    def weights(self) -> list[float]:
        """Weight of the loss of every level, the finest first: 1, 1/2, 1/4 and so on."""
        return [0.5**level for level in range(len(self.heads) + 1)]
