"""Where tensors are computed."""

import torch


def choose() -> str:
    """Return ``cuda`` where there is a GPU, else ``cpu``.

    A GPU's convolutions then keep single precision, as its matrix products do (torch's default for them is TF32, three
    digits), and sum in one order: it answers as the CPU does, and learns the same bits twice.
    """
    if not torch.cuda.is_available():
        return "cpu"
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return "cuda"
