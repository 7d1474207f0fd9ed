"""Put the trained cells on record and let the gate choose the champion."""

from pathlib import Path

from tqdm import tqdm

from fieldmark.core import command, layout, store
from fieldmark.core.params import Params
from fieldmark.tracking import gate, lineage, registry
from fieldmark.tracking.publish import publish_sources
from fieldmark.tracking.record import Run
from fieldmark.tracking.runs import parent_run
from fieldmark.tracking.store import connect
from stages._gate import judge
from stages._publish import Publisher
from stages._results import Results, cells


def main(params: Params, root: Path) -> None:
    """Put the trained cells on record and let the gate choose the champion."""
    lineage.demand_committed(root)
    results, name = Results(params, root), params.register_.name
    with connect(root) as records:
        parent = parent_run(records, lineage.reproduction(root))
        publish_sources(records, parent, layout.index(root, params))
        Run(records, parent).log_files(sorted(layout.report(root).iterdir()), "report")
        publisher = Publisher(params, root, records, parent, results)
        runs = {cell: publisher.cell(*cell) for cell in tqdm(cells(params), desc="publish", unit="cell")}
        contenders = [params.register_.baseline, *params.register_.candidates]
        versions = {model: publisher.version(model, runs) for model in tqdm(contenders, desc="register", unit="model")}

        champion = registry.champion(records, name)
        if champion is None:
            champion = versions[params.register_.baseline]
            decision = gate.first(params.register_.baseline)
            publisher.note(decision, champion, None)  # first: what is noted twice is noted once
            registry.promote(records, champion, decision)
        incumbent, comparable = publisher.validation(champion)
        judged = {}
        for model in params.register_.candidates:
            version = versions[model]
            if version.version != champion.version:
                decision = judge(results, root, model, incumbent, comparable=comparable)
                judged[model] = (decision, results.row((model, "worst_group", "val"))["mean"])
                publisher.note(decision, version, champion)
        winner = gate.winner(judged)
        if winner:
            registry.promote(records, versions[winner], judged[winner][0])
            champion = versions[winner]
    publisher.summary(champion)
    verdicts = {model: decision.verdict for model, (decision, _) in judged.items()}
    told = {model: version.version for model, version in versions.items()}
    receipt = {"model": name, "champion": champion.version, "versions": told, "verdicts": verdicts}
    store.write_json(layout.registered(root), receipt)
    print(f"{name} {champion.version} is champion ({verdicts}); fieldmark why tells why, fieldmark ui shows the runs")


if __name__ == "__main__":
    command.run(main)
