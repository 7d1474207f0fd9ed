"""Energy-regularised spatial mask (ERSM, arXiv 2604.06893): a learned gate on the last feature map.

The defaults are the released setting: on wildstamps no other was better on validation, and it is as good without its
energy; what helps is the gate that starts nearly closed (``bench/ersm_settings.py`` shows both, after ``make repro``).
"""

from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.energy import BiasMode, EnergyMask, Gate, Pair
from fieldmark.layers.pooling import masked_pool

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True

#: What the authors' code does: the bias starts the gate nearly closed (sigmoid(-6) = 0.0025) and is never trained.
RELEASED = {
    "lam": 1e-3, "gam": 1e-3, "temperature": 1.0, "bias_init": 6.0, "bias_mode": "frozen",
    "pair": "feature8", "gate": "soft", "token_size": 1, "renormalise": False,
}  # fmt: skip


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    lam: float = 1e-3,
    gam: float = 1e-3,
    temperature: float = 1.0,
    bias_init: float = 6.0,
    bias_mode: BiasMode = "frozen",
    pair: Pair = "feature8",
    gate: Gate = "soft",
    token_size: int = 1,
    renormalise: bool = False,
    grid: tuple[int, int] | None = None,
) -> nn.Module:
    """Return gate, masked mean and linear classifier; ``RELEASED`` names the authors' setting.

    Args:
        backbone: where the features come from.
        num_classes: K.
        lam: weight of the unary energy.
        gam: weight of the pairwise energy.
        temperature: of the keep probability sigmoid(-z / T).
        bias_init: first value of the score's bias; 6 starts closed, -6 open.
        bias_mode: ``frozen`` (never trained), ``scalar`` or ``per_position`` (trained; the latter needs ``grid``).
        pair: ``feature8`` (released), ``feature8_norm`` (no border bias), ``mask_tv`` (couples neighbours) or ``off``.
        gate: ``soft`` (released) or ``ste`` (zeros and ones, straight-through gradient; measures that rank tokens by
            the mask, as deletion does, then draw lots).
        token_size: side of a token in cells of the map.
        renormalise: divide the masked sum by the mask's sum, not by the number of tokens.
        grid: height and width of the map, for ``per_position``.

    Raises:
        FieldmarkError: the temperature is not above 0, or ``per_position`` has no fitting ``grid``.
    """
    if temperature <= 0:
        raise FieldmarkError(f"ersm got the temperature {temperature}: give one above 0 (released: 1).")
    gate_module = EnergyMask(
        backbone.channels, lam=lam, gam=gam, temperature=temperature, bias_init=bias_init, bias_mode=bias_mode,
        pair=pair, gate=gate, token_size=token_size, grid=grid,
    )  # fmt: skip
    return Ersm(gate_module, nn.Linear(backbone.channels, num_classes), renormalise)


class Ersm(nn.Module):
    """Gate, masked mean, linear classifier."""

    def __init__(self, gate: EnergyMask, linear: nn.Linear, renormalise: bool) -> None:
        super().__init__()
        self.gate, self.linear, self.renormalise = gate, linear, renormalise

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features; a forced mask replaces the gate's, which is not even asked: deletion forces hundreds."""
        if forced_Bhw is not None:
            return Output(self.classify(batch.x_BCHW, forced_Bhw), forced_Bhw, {})
        gated = self.gate(batch.x_BCHW)
        extras = {"energy": gated.energy_B, "unary": gated.unary_B, "pair": gated.pair_B, "z": gated.z_Bhw}
        return Output(self.classify(batch.x_BCHW, gated.mask_Bhw), gated.mask_Bhw, extras)

    def classify(self, x_BCHW: Tensor, mask_Bhw: Tensor) -> Tensor:
        """Return the logits (B, K) of masked features."""
        logits_BK: Tensor = self.linear(masked_pool(x_BCHW, mask_Bhw, renormalise=self.renormalise))
        return logits_BK
