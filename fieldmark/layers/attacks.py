"""Kinds of attack by name: as strong as can be, and weaker ones that should never find more."""

from typing import Literal, get_args

from fieldmark.layers.apgd import apgd
from fieldmark.layers.attack import Found, Target, pgd

Kind = Literal["pgd", "apgd", "one_step", "random", "transfer", "straight_through"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def harder(kind: Kind, target: Target, *, eps: float, steps: int, restarts: int) -> Found:
    """Return what an attack of a kind finds.

    ``one_step`` is FGSM (arXiv 1412.6572); ``random`` tries as many pictures as the others, without a gradient;
    ``transfer`` and ``straight_through`` are PGD along the gradients of ``target.through``. With ``eps`` 0 all give the
    picture itself.
    """
    if not eps:
        return pgd(target, eps=0, steps=0)
    if kind == "apgd":
        return apgd(target, eps=eps, steps=steps, restarts=restarts)
    if kind == "one_step":
        return pgd(target, eps=eps, steps=1, step=1.0)
    if kind == "random":
        return pgd(target, eps=eps, steps=0, restarts=1 + steps * restarts)
    return pgd(target, eps=eps, steps=steps, restarts=restarts)
