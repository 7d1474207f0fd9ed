"""A `transformers` checkpoint for image classification: a folder with `config.json` and safetensors weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.classifiers._pixels import Floats, Pixels, described, hashes, processed
from fieldmark.core.contracts import BlackBox
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_object

KIND = "transformers checkpoint"


def recognises(what: str) -> bool:
    """Tell whether ``what`` is a folder that transformers wrote: its config names a type of model."""
    config = Path(what) / "config.json"
    return config.is_file() and bool({"model_type", "architectures"} & {*read_object(config)})


def load(what: str, facts: Mapping[str, Any]) -> BlackBox:
    """Open a checkpoint; only safetensors weights are read, and no code that lies beside them is run.

    Args:
        what: the folder.
        facts: what counts instead of the folder's own description (``classes``, ``size``, ``mean``, ``std``).

    Raises:
        FieldmarkError: no safetensors, no classifier, not all of its weights, or no word on how pixels go in.
    """
    folder = Path(what)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        _refuse(folder)
    network = _network(folder)
    own = {"size": getattr(network.config, "image_size", None), **processed(folder)}
    sees = described({**{key: value for key, value in own.items() if value}, **facts}, str(folder))
    if len(sees.classes) != network.config.num_labels:
        raise FieldmarkError(
            f"{folder} tells {network.config.num_labels} classes apart, but {len(sees.classes)} are named: correct "
            "id2label in its config.json, or `classes` in the file given with --config."
        )
    found = [folder / "config.json", *folder.glob("preprocessor_config.json"), *weights]
    return BlackBox(sees.classes, sees.size, _Answers(network, sees.numbers), hashes(*found), KIND)


class _Answers:
    """Pictures in, probabilities out."""

    def __init__(self, network: Any, numbers: Any) -> None:
        from fieldmark.core import device

        self._device = device.ready()
        self._network, self._numbers = network.to(self._device).eval(), numbers

    def __call__(self, images_BHW3: Pixels) -> Floats:
        import torch

        with torch.inference_mode():
            x_B3HW = torch.from_numpy(self._numbers(images_BHW3)).to(self._device)
            logits_BK = self._network(pixel_values=x_B3HW).logits
            return np.asarray(logits_BK.float().softmax(1).cpu().numpy(), np.float32)


def _network(folder: Path) -> Any:
    import transformers
    from safetensors import SafetensorError

    logging: Any = transformers.utils.logging  # it has no types
    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it would warn of is refused below
    try:
        network, told = transformers.AutoModelForImageClassification.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:  # another task, half a file
        said = " ".join(str(error).split())[:200]
        raise FieldmarkError(
            f"{folder} is no image classifier that transformers can open ({said}): {_EXPORT}"
        ) from None
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
    if told["missing_keys"] or told["mismatched_keys"]:
        missing = sorted(map(str, [*told["missing_keys"], *told["mismatched_keys"]]))
        raise FieldmarkError(
            f"{folder} lacks weights ({', '.join(missing[:3])}): what would be audited is partly random, not trained; "
            "give the folder of the model with its classification head."
        )
    return network


_EXPORT = "save it by `model.save_pretrained(FOLDER)` and `processor.save_pretrained(FOLDER)`, or export it to ONNX."


def _refuse(folder: Path) -> None:
    pickles = sorted(path.name for kind in ("bin", "pt", "pth", "ckpt", "pkl") for path in folder.glob(f"*.{kind}"))
    found = (
        f"has its weights as a pickle ({pickles[0]}), which runs whatever its maker wrote" if pickles else "has none"
    )
    raise FieldmarkError(f"only safetensors weights are opened, and {folder} {found}: {_EXPORT}")
