"""A training has the rounds its objective asks for, and ends in the same bits if it is killed on the way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classroom import BACKBONE, Classroom, built, targets
from small_training import bits

from fieldmark.models import erm as plain
from fieldmark.objectives import jtt
from fieldmark.training import heads
from fieldmark.training.fit import Triples, fit, initialised
from fieldmark.training.predict import predict


def test_an_objective_that_asks_for_nothing_is_one_fit(tmp_path: Path) -> None:
    room, alone = Classroom(tmp_path, epochs=2), initialised(lambda: plain.build(BACKBONE, 2), 0)
    history = room.train(built("erm"))
    expected = fit(
        alone, heads.shuffled(room.data, batch=50, seed=0), objective=built("erm"), epochs=2, lr=0.02, weight_decay=0.0
    )
    assert history == expected and bits(room.module) == bits(alone) and not [*tmp_path.iterdir()]


def test_jtt_starts_again_and_shows_what_it_got_wrong_more_often(tmp_path: Path) -> None:
    room = Classroom(tmp_path, epochs=2)
    start = {name: value.clone() for name, value in room.module.state_dict().items()}
    objective = jtt.build(targets(room.data), first_epochs=3, upsample=4)
    history = room.train(objective)
    assert [epoch for epoch, _ in room.seen] == [0, 1, 2, 0, 1] and [row["epoch"] for row in history] == [0, 1]
    once = initialised(lambda: plain.build(BACKBONE, 2), 0)
    once.load_state_dict(start)
    fit(once, heads.shuffled(room.data, batch=50, seed=0), objective=objective, epochs=3, lr=0.02, weight_decay=0.0)
    answers = predict(once, heads.in_order(room.data, batch=64))
    wrong = np.flatnonzero(answers.probabilities_NK.argmax(1) != answers.labels_N)
    assert 0 < len(wrong) < 200
    assert sorted(room.seen[-1][1]) == sorted([*range(400), *wrong.tolist() * 3])
    once.load_state_dict(start)
    again = heads.shuffled(room.data, batch=50, seed=0, rows=objective.second(np.isin(np.arange(400), wrong)).rows)
    fit(once, again, objective=objective, epochs=2, lr=0.02, weight_decay=0.0)
    assert bits(once) == bits(room.module), "the second round starts from the initial weights"


class Killed(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize("name", ["jtt", "group_dro"])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_killed_training_ends_in_the_same_bits_whatever_the_objective(name: str, stop: int, tmp_path: Path) -> None:
    options = {"first_epochs": 2} if name == "jtt" else {"step": 0.5}
    straight, resumed = Classroom(tmp_path / "a", epochs=5), Classroom(tmp_path / "b", epochs=5)
    history = straight.train(built(name, targets(straight.data), **options))
    lessons = resumed.lessons

    def killed(rows: Any) -> Any:
        batches = lessons(rows)

        def dying(epoch: int) -> Triples:
            if len(resumed.seen) == stop:
                raise Killed
            return batches(epoch)  # type: ignore[no-any-return]

        return dying

    resumed.lessons = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        resumed.train(built(name, targets(straight.data), **options))
    resumed.lessons = lessons  # type: ignore[method-assign]
    resumed.module = initialised(lambda: plain.build(BACKBONE, 2), 0)
    assert resumed.train(built(name, targets(straight.data), **options)) == history
    assert bits(resumed.module) == bits(straight.module) and not [*(tmp_path / "b").iterdir()]
