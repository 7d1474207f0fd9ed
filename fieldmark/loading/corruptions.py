"""The corruptions of the tests as one table: families by severity, each an albumentations transform.

Strengths are those of ImageNet-C (arXiv 1903.12261) where a transform has the same unit; shot noise, motion blur, fog
and spatter have units of their own. Lengths are pixels of the picture as it is rendered. What moves pixels (elastic,
zoom, glass) is left out, for the true mask would no longer fit; so is snow, whose colours wrap around in the library.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from fieldmark.core.store import fingerprint
from fieldmark.core.tables import CORRUPTIONS_VERSION


class Family(NamedTuple):
    """One kind of corruption."""

    unit: str  # what a strength is
    strengths: tuple[float, float, float, float, float]  # at severities 1 to 5
    transform: Callable[[Any, Any], Any]  # (albumentations, strength) -> a transform that always applies


def _brightness(library: Any, gain: float) -> Any:
    return library.RandomBrightnessContrast(brightness_limit=(gain, gain), contrast_limit=(0, 0), p=1.0)


def _contrast(library: Any, factor: float) -> Any:
    plain = {"brightness": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    return library.ColorJitter(contrast=(factor, factor), **plain, p=1.0)


def _defocus(library: Any, radius: float) -> Any:
    alias = 0.1 if radius <= 3 else 0.5
    return library.Defocus(radius=(int(radius), int(radius)), alias_blur=(alias, alias), p=1.0)


def _motion(library: Any, length: float) -> Any:
    still = {"allow_shifted": False, "direction_range": (0.0, 0.0)}  # symmetric: the object stays where its mask is
    return library.MotionBlur(blur_limit=(int(length), int(length)), **still, p=1.0)


def _pixelate(library: Any, scale: float) -> Any:
    import cv2

    ways = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_NEAREST_EXACT}
    return library.Downscale(scale_range=(scale, scale), interpolation_pair=ways, p=1.0)


def _spatter(library: Any, threshold: float) -> Any:
    fixed = {"mean": (0.65, 0.65), "std": (0.3, 0.3), "gauss_sigma": (2, 2), "intensity": (0.6, 0.6), "mode": "rain"}
    return library.Spatter(cutout_threshold=(threshold, threshold), **fixed, p=1.0)


TABLE: dict[str, Family] = {
    "gaussian_noise": Family(
        "standard deviation, as a fraction of the range of values",
        (0.08, 0.12, 0.18, 0.26, 0.38),
        lambda library, std: library.GaussNoise(std_range=(std, std), p=1.0),
    ),
    "shot_noise": Family(
        "light of one photon, as a fraction of the range of linear light",
        (0.01, 0.02, 0.05, 0.1, 0.2),
        lambda library, photon: library.ShotNoise(scale_range=(photon, photon), p=1.0),
    ),
    "impulse_noise": Family(
        "share of pixels that are black or white",
        (0.03, 0.06, 0.09, 0.17, 0.27),
        lambda library, share: library.SaltAndPepper(amount=(share, share), salt_vs_pepper=(0.5, 0.5), p=1.0),
    ),
    "gaussian_blur": Family(
        "standard deviation, px",
        (1, 2, 3, 4, 6),
        lambda library, sigma: library.GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1.0),
    ),
    "defocus_blur": Family("radius, px", (3, 4, 6, 8, 10), _defocus),
    "motion_blur": Family("length, px", (5, 9, 13, 17, 21), _motion),
    "fog": Family(
        "share of light that fog scatters",
        (0.4, 0.55, 0.7, 0.85, 1.0),
        lambda library, share: library.RandomFog(fog_coef_range=(share, share), alpha_coef=0.08, p=1.0),
    ),
    "spatter": Family(
        "wetness at which a drop begins: the lower, the more of them", (0.72, 0.7, 0.68, 0.66, 0.64), _spatter
    ),
    "brightness": Family("what is added, as a fraction of the range", (0.1, 0.2, 0.3, 0.4, 0.5), _brightness),
    "contrast": Family("what remains of it, as a fraction", (0.4, 0.3, 0.2, 0.1, 0.05), _contrast),
    "pixelate": Family("resolution that remains, as a fraction", (0.6, 0.5, 0.4, 0.3, 0.25), _pixelate),
    "jpeg": Family(
        "quality",
        (25, 18, 15, 10, 7),
        lambda library, quality: library.ImageCompression(quality_range=(quality, quality), p=1.0),
    ),
}


def table_sha256(library: Any) -> str:
    """Return the sha256 of every pipeline of the table as the library writes it down, its version aside.

    A test holds it to ``CORRUPTIONS_VERSION``, so that no strength changes under the same number.
    """
    described = {
        f"{name}:{severity}": library.to_dict(library.Compose([family.transform(library, strength)]))["transform"]
        for name, family in TABLE.items()
        for severity, strength in enumerate(family.strengths, start=1)
    }
    return fingerprint([CORRUPTIONS_VERSION, described])
