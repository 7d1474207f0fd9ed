"""An oracle, a constant and a background reader, and the toy test part that robustness tests show them.

The part has 4 groups of 5 examples (bird, mammal x land, water). Birds go with water, mammals with land.
"""

import numpy as np
import pandas as pd
import toy_attack

from fieldmark.core import plugins

CLASSES = ("bird", "mammal")
PAIRS = {"bird": "water", "mammal": "land"}
TRAIN = {"bird on water": 0.5, "mammal on land": 0.45, "bird on land": 0.03, "mammal on water": 0.02}


def recipes() -> pd.DataFrame:
    cells = [(label, background, n) for label in CLASSES for background in ("land", "water") for n in range(5)]
    table = pd.DataFrame(cells, columns=["label", "background", "n"])
    table["group"] = table["label"] + " on " + table["background"]
    table["example_id"] = table["group"] + " " + table["n"].astype(str)
    return table


def vary(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Other backgrounds, and what can't be seen any more; the variants not named here leave all as it is."""
    kind, _, number = name.partition(":")
    usual = table["label"].map(PAIRS)
    unusual = usual.map({"land": "water", "water": "land"})
    table = table.assign(variant=name)
    if name == "mixed_same":
        return table.assign(background=usual)
    if name == "mixed_next":
        return table.assign(background=unusual)
    if name == "mixed_rand":
        return table.assign(background=usual.where(table["n"] < 2, unusual))  # 2 of 5 as usual
    if kind == "background":  # kinds take turns
        return table.assign(background=((table["n"] + int(number)) % 2).map({0: "land", 1: "water"}))
    if kind in ("drop_object", "noise_object", "drop_background", "noise_background"):
        return table.assign(hidden=kind.partition("_")[2])
    return table


def one_hot(names: pd.Series) -> np.ndarray:
    return (names.to_numpy()[:, None] == np.asarray(CLASSES)).astype(float)


def oracle(table: pd.DataFrame) -> np.ndarray:
    return one_hot(blind(table["label"], table, "object"))


def background_reader(table: pd.DataFrame) -> np.ndarray:
    read = table["background"].map({background: label for label, background in PAIRS.items()})
    return one_hot(blind(read, table, "background"))


def blind(names: pd.Series, table: pd.DataFrame, what: str) -> pd.Series:
    """Who can't see what it reads says the first class."""
    return names.where(table["hidden"] != what, CLASSES[0]) if "hidden" in table else names


def constant(table: pd.DataFrame) -> np.ndarray:
    return np.tile([0.5, 0.5], (len(table), 1))  # a tie: the class listed first counts


def scores(name: str, predict, table: pd.DataFrame):
    test = plugins.find("robustness", name)
    known = {"predict": predict, "recipes": table, "vary": vary, "classes": CLASSES}
    known["attack"] = toy_attack.attack(predict, CLASSES, reads=predict is background_reader)
    return test.score(**plugins.asked(test.score, {**known, "pairs": PAIRS, "train_groups": TRAIN}))
