"""Black boxes with known answers, by pixels alone: what `fieldmark audit blackboxes:...` opens."""

import numpy as np

SIZE = 64


class Corners:
    """Reads the ground from the corners: where they are more blue than red it says square, else disc."""

    classes = ("disc", "square")
    size = SIZE

    def probabilities(self, images_BHW3):
        corners_B4C = images_BHW3[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float)
        sea_B = corners_B4C[..., 2].mean(1) > corners_B4C[..., 0].mean(1)
        return np.stack([np.where(sea_B, 0.2, 0.8), np.where(sea_B, 0.8, 0.2)], axis=1)


class Constant:
    """Says disc to everything."""

    classes = ("disc", "square")
    size = SIZE

    def probabilities(self, images_BHW3):
        return np.tile([0.75, 0.25], (len(images_BHW3), 1))


class Elsewhere:
    """Two kinds of disc are likelier together than a cup, which it says all the same."""

    classes = ("red disc", "green disc", "square", "cup")
    size = SIZE

    def probabilities(self, images_BHW3):
        return np.tile([0.3, 0.3, 0.0, 0.4], (len(images_BHW3), 1))


class Broken(Constant):
    """Has weights that are no numbers."""

    def probabilities(self, images_BHW3):
        return np.full((len(images_BHW3), 2), np.nan)


class Narrow(Constant):
    """Answers with one number a picture."""

    def probabilities(self, images_BHW3):
        return np.ones((len(images_BHW3), 1))
