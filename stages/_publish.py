"""What register shows of each cell and version in MLflow."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from fieldmark import serve
from fieldmark.core import layout, store
from fieldmark.core.params import DECIDES, Params
from fieldmark.report.leaderboard import HEADLINE, interval, leaderboard_markdown, title
from fieldmark.report.pictures import sheet
from fieldmark.stats import Observed, from_table
from fieldmark.tracking import gate, ledger, lineage, model, registry, trace
from fieldmark.tracking.dvclock import content_hash
from fieldmark.tracking.publish import CARD, publish_cell
from fieldmark.tracking.record import Dataset, Run
from fieldmark.tracking.store import Store
from stages._gallery import gallery
from stages._results import SHARES, Results, introduced

VALIDATION = "validation.json"  # of a registered cell's run: what a later challenger is compared with


class Publisher:
    """Writes one reproduction's cells and versions to an open store."""

    def __init__(self, params: Params, root: Path, records: Store, parent: str, results: Results) -> None:
        self.params, self.root, self.records, self.parent, self.results = params, root, records, parent, results
        self.splits = [content_hash(layout.split(root, params, seed)) for seed in params.seeds]
        self.contenders = [params.register_.baseline, *params.register_.candidates]
        baseline = params.register_.baseline
        self.headline = [name for name in HEADLINE if name in SHARES or (baseline, name, "test") in results.observed]

    def cell(self, name: str, seed: int) -> tuple[Run, str]:
        """Show one cell and return its run and, if it may be registered, its model's id."""
        folder, split = layout.trained(self.root, name, seed), layout.split(self.root, self.params, seed)
        statement = lineage.manifest(self.root, f"train@{name}-{seed}", index=layout.index(self.root, self.params))
        digest, place = self.splits[self.params.seeds.index(seed)], str(split.relative_to(self.root))
        data = {
            part: Dataset(f"{self.params.dataset.name}/{seed} {part}", digest, place, part) for part in ("val", "test")
        }
        fingerprint, config = lineage.cell_fingerprint(folder), store.read_json(folder / "config.json")
        pictures = gallery(self.params, self.root, name, seed)
        with tempfile.TemporaryDirectory() as workspace:
            run = publish_cell(
                self.records, self.parent, statement, fingerprint=fingerprint, datasets=list(data.values()),
                params=config, history=store.read_json(folder / "history.json"),
                pictures=[sheet(Path(workspace) / "right and wrong.png", pictures)],
            )  # fmt: skip
        run.describe(f"{introduced(self.params)[name]} Seed {seed}; Artifacts hold pictures of what it saw.")
        model_id = None
        if name in self.contenders:
            example = pictures[0].image_HW3[None]
            packages = [*serve.PACKAGES, *serve.BACKBONE_PACKAGES.get(config["backbone"]["name"], ())]
            model_id = model.log(run, folder, example, fingerprint=fingerprint, loader=serve.LOADER, packages=packages)
        for part, dataset in data.items():
            values = self.results.values(name, seed, part)
            run.log_metrics(values, model_id=model_id, dataset=dataset)
        return run, model_id or ""

    def version(self, name: str, runs: dict[tuple[str, int], tuple[Run, str]]) -> registry.Version:
        """Register the seed of a model that is best on validation."""
        seed = max(
            self.params.seeds, key=lambda seed: (self.results.values(name, seed, "val")[f"val/{DECIDES}"], -seed)
        )
        (run, model_id), folder = runs[name, seed], layout.trained(self.root, name, seed)
        manifest = trace.artifact(self.records, run.run_id, "lineage/manifest.json")
        config = store.read_json(folder / "config.json")
        about = f"{name} on {config['backbone']['name']} at {config['size']} px, seed {seed}"
        version = registry.register(
            self.records, self.params.register_.name, run_id=run.run_id, model_id=model_id,
            fingerprint=lineage.cell_fingerprint(folder), tags=lineage.tags(manifest),
            description=f"{about}. {self._measured(name)}",
        )  # fmt: skip
        first = Run(self.records, version.run_id)  # another one where these weights were known: the last counts
        first.log_json({"splits": self.splits, **self.results.packed((name, DECIDES, "val"))}, VALIDATION)
        first.log_json(self._card(name, about, version), CARD)
        return version

    def _card(self, name: str, about: str, version: registry.Version) -> dict[str, Any]:
        """Return what `fieldmark why` tells of a version."""
        shown = list(dict.fromkeys([name, *self.params.models]))
        return {
            "about": about,
            "data": f"{self.params.dataset.name}, train correlation {self.params.split.correlation}",
            "commit": version.tags["fieldmark.git_commit"],
            "models": shown,
            "metrics": self.headline,
            "rows": [self.results.row((model, metric, "test")) for model in shown for metric in self.headline],
        }

    def _measured(self, name: str) -> str:
        """Say a model's headline in one sentence."""
        said = [f"{title(metric)} {interval(self.results.row((name, metric, 'test')))}" for metric in self.headline]
        return f"On test, mean over {len(self.params.seeds)} seeds: {', '.join(said)}."

    def summary(self, champion: registry.Version) -> None:
        """Describe the reproduction's run: its leaderboard and who is champion."""
        models = list(self.params.models)
        rows = [self.results.row((model, metric, "test")) for model in models for metric in self.headline]
        Run(self.records, self.parent).describe(
            f"Champion: version {champion.version} of {champion.name}. Artifacts hold the report.\n\n"
            f"{self.params.dataset.name}, {len(self.params.seeds)} seeds; on test, means over seeds with"
            f" {self.params.stats.level * 100:g} % intervals:\n\n{leaderboard_markdown(rows, models)}"
        )

    def validation(self, champion: registry.Version) -> tuple[list[Observed], bool]:
        """Return the champion's observations on validation, and whether these are this reproduction's examples."""
        kept = trace.artifact(self.records, champion.run_id, VALIDATION)
        table = pd.DataFrame(kept["table"])
        per_seed = [
            from_table(table[table["seed"] == number], {DECIDES: facts})[DECIDES]
            for number, facts in enumerate(kept["described"])
        ]
        return per_seed, kept["splits"] == self.splits

    def note(self, decision: gate.Decision, challenger: registry.Version, champion: registry.Version | None) -> None:
        """Write a decision to the ledger."""
        involved = [version for version in (challenger, champion) if version]
        ledger.append(
            layout.ledger(self.root), decision, model=challenger.name, challenger=challenger.version,
            champion=champion.version if champion else None,
            lineage={version.version: version.tags[registry.FINGERPRINT] for version in involved},
        )  # fmt: skip
