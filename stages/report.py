"""Write the leaderboard and the page people read."""

from pathlib import Path

from tqdm import tqdm

from fieldmark.core import command, layout, store
from fieldmark.core.params import Params
from fieldmark.report import claims, leaderboard, page, plots, strips
from fieldmark.report.elsewhere import joined
from stages._compared import comparisons
from stages._drawn import counterfactuals, measured, trainings
from stages._gallery import compared, failures, gallery
from stages._gate import decided
from stages._results import SHARES, Results, about, cells, introduced, provenance, tested


def main(params: Params, root: Path) -> None:
    """Write the leaderboard and the page people read."""
    results, order = Results(params, root), list(params.models)
    keys = [*results.observed, *((model, share, "test") for share in SHARES for model in order)]
    rows = [results.row(key) for key in tqdm(keys, desc="intervals", unit="measure")]
    ledger = claims.ledger(results)
    told = {cell: store.read_json(layout.trained(root, *cell) / "history.json") for cell in cells(params)}
    epochs = [{"model": model, "seed": seed, **row} for (model, seed), history in told.items() for row in history]
    folder, known, means = layout.report(root), about(params, root), [results.means(model) for model in order]
    drawings = plots.drawings(rows, order, trainings(params, epochs), known, measured(results))
    objects, against = counterfactuals(params, root, params.seeds[0]), comparisons(results)
    tables = {"leaderboard": rows, "comparisons": against.rows, "claims": ledger, "models": means, "curves": epochs}
    for name, table in tables.items():
        store.write_json(folder / f"{name}.json", table)
    with store.atomic(folder / "plots") as temporary:
        temporary.mkdir()
        for name, svg in [*((one.name, one.svg) for one in drawings), *strips.files(objects)]:
            (temporary / f"{name}.svg").write_text(svg, encoding="utf-8")
    content = page.Content(
        title=f"Who leans on the background? {params.dataset.name}, {len(params.seeds)} seeds",
        rows=rows,
        models=introduced(params),
        level=params.stats.level,
        claims=joined(ledger, tested(root)),
        groups=[row for model in order for row in results.groups(model)],
        gallery=[picture for model in order for picture in gallery(params, root, model, params.seeds[0])],
        compared=compared(params, root, params.seeds[0]),
        strips=objects,
        failures={model: failures(params, root, model, params.seeds[0]) for model in order},
        about=known,
        drawings=drawings,
        provenance=provenance(params, root),
        gate=decided(results, root),
        comparisons=against,
        meanings=results.meanings,
    )
    page.write(folder / "report.html", content)
    print(leaderboard.leaderboard_text(rows, order))


if __name__ == "__main__":
    command.run(main)
