"""Where tensors are computed."""

import torch


def ready() -> str:
    """Return ``cuda``, with torch's switches set for it, where there is a GPU, else ``cpu``.

    A GPU then answers as the CPU does, and learns the same bits twice: convolutions keep single precision (torch's
    default for them is TF32, three digits; matrix products keep theirs anyway) and sum in one order.
    """
    if not torch.cuda.is_available():
        return "cpu"
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return "cuda"
