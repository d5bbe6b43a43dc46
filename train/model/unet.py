"""The 2D U-Net that both models use.

Levels of two 3x3 convolutions each (Ronneberger et al. 2015), normalised per sample and channel, so that a
result depends neither on the rest of the batch nor on how a batch is split over ranks.
"""

import torch
from torch import Tensor, nn

from synthspine.train.model.instance_norm import InstanceNorm

LEVELS = 5
STRIDE = 2 ** (LEVELS - 1)
MOST_LEVELS = 8
NEGATIVE_SLOPE = 0.01


class ConvBlock(nn.Sequential):
    """Twice: 3x3 convolution, instance normalisation, leaky ReLU. ``(B, C_in, H, W) -> (B, C_out, H, W)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
                InstanceNorm(out_channels),
                nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net with ``base_features`` channels on the finest level and twice as many on each coarser one.

    Args:
        in_channels: channels of the image.
        num_classes: classes of the output, background included.
        base_features: channels of the finest level; 8, 16, 32 give about 0.49 M, 1.9 M, 7.8 M parameters.
        levels: resolutions, each half of the one before; one more quadruples the parameters.

    Raises:
        ValueError: no channel, less than two classes, no feature, or a number of levels outside 2..8.
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 14, base_features: int = 8, levels: int = LEVELS
    ) -> None:
        super().__init__()
        if in_channels < 1 or num_classes < 2 or base_features < 1:
            found = f"in_channels {in_channels}, num_classes {num_classes}, base_features {base_features}"
            raise ValueError(f"a U-Net needs at least 1 channel, 2 classes and 1 feature, got {found}")
        if not 2 <= levels <= MOST_LEVELS:
            raise ValueError(f"levels {levels} must be 2 to {MOST_LEVELS}")
        self.levels = levels
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.base_features = base_features

        widths = [base_features * 2**level for level in range(levels)]
        self.encoder = nn.ModuleList(
            ConvBlock(before, after) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in reversed(widths[:-1])
        )
        self.decoder = nn.ModuleList(ConvBlock(2 * width, width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(base_features, num_classes, kernel_size=1)
        # Normal weights that keep the variance from layer to layer (He et al. 2015), no offsets.
        for layer in self.modules():
            # Shapes alone (device meta) have no values, and drawing them would load torch's compiler.
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not layer.weight.is_meta:
                nn.init.kaiming_normal_(layer.weight, a=NEGATIVE_SLOPE)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, shape ``(B, num_classes, H, W)``, of images ``(B, in_channels, H, W)``, float in [0, 1].

        Raises:
            ValueError: H or W is no multiple of ``stride``, or both equal it (a single pixel cannot be
                normalised).
        """
        logits: Tensor = self.head(self.decode(image)[0])
        return logits

    def decode(self, image: Tensor) -> list[Tensor]:
        """Features of the decoder's levels, the finest first; arguments and errors of :meth:`forward`.

        Returns:
            Shapes ``(B, base_features, H, W)``, ``(B, 2 * base_features, H / 2, W / 2)`` and so on.
        """
        height, width = image.shape[-2:]
        stride = self.stride
        if height % stride or width % stride or height * width <= stride**2:
            raise ValueError(
                f"image size {height} x {width}: both sides must be multiples of {stride}, one of them larger"
            )
        skips: list[Tensor] = []
        features = image
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        decoded = [skips.pop()]
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            decoded.append(block(torch.cat((skips.pop(), upsample(decoded[-1])), dim=1)))
        return decoded[:0:-1]

    def count_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @property
    def stride(self) -> int:
        """Pixels of the image per pixel of the coarsest level, 16 with five levels."""
        return 2 ** (self.levels - 1)

    @property
    def architecture(self) -> dict[str, int]:
        """The arguments that build this network again; the default number of levels is left out."""
        sizes = {
            "in_channels": self.in_channels,
            "num_classes": self.num_classes,
            "base_features": self.base_features,
        }
        return sizes if self.levels == LEVELS else sizes | {"levels": self.levels}


def seeded_unet(seed: int, **architecture: int) -> UNet:
    """A U-Net whose first weights depend on the seed alone; torch's global generator is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(**architecture)
