"""Does a fit find the best optimum that is not degenerate? Ours, scikit-learn's and mclust's.

    python benchmarks/run.py optimum

Each library begins where it would by itself, with its defaults; "-10" has n_init=10, scikit-learn's with our default
tolerance. A fit succeeds if its log-likelihood is within 0.001 nats a row, or 0.1 % of what K components gain over one,
of the best that is known, and it does not rest on a few rows. Rows are made from several seeds; a real data set is
fitted with as many values of random_state. The libraries take turns, with one thread, and times are the processor's.

The best optima that are known are in benchmarks/references/optimum.json. Where a fit finds a better one the suite says
so. `--find` searches for them, in a quarter of an hour, and keeps what is stored where it finds nothing better.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from harness import optima
from harness.contenders import CONTENDERS, Contender, Fit, is_there
from harness.families import FAMILIES, rows_of
from harness.optima import Optimum
from harness.problems import average_log_likelihood
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.searching import Effort, Searches
from harness.tables import table

Record = dict[str, Any]
SEEDS = range(4)
MOST = 0.75  # of the seeds of a family, on which a fit is to succeed
SMALL = 1000  # rows of the problems whose times are also shown alone
BETTER = 1e-5  # nats a row above the best that was known
BESIDE = "scikit-learn-10"  # whose times the others' are divided by


def find(families: Sequence[str], seeds: Sequence[int], effort: Effort) -> None:
    """Search for the best optima, and store those that are new."""
    known = optima.read()
    for family in families:
        for seed in dict.fromkeys(optima.seed_of_rows(family, seed) for seed in seeds):
            report(f"optimum: {family}, {seed}")
            found = Searches(family, seed, effort).best()
            before = known.get((family, seed))
            known[family, seed] = found if before is None else found.or_better(before)
            report(f"  {known[family, seed]}")
            optima.write(known.values())


def measure_all(
    families: Sequence[str], seeds: Sequence[int], contenders: Mapping[str, Contender]
) -> Iterator[list[Record]]:
    """Yield the records of one problem after another."""
    known = optima.read()
    warm = rows_of("iris", 0)[0]
    for contender in contenders.values():
        contender.fit(warm, "full", 2, 0)
    for family in families:
        for seed in seeds:
            report(f"optimum: {family}, {seed}")
            key = family, optima.seed_of_rows(family, seed)
            rows, _ = rows_of(*key)
            if key not in known or not known[key].is_of(rows):
                raise SystemExit(f"The best optimum of {family!r}, {key[1]}, is not known: run with --find.")
            yield measure(known[key], seed, rows, contenders)


def measure(optimum: Optimum, seed: int, rows: np.ndarray, contenders: Mapping[str, Contender]) -> list[Record]:
    """Return the records of one problem, one for each contender that can do it."""
    family = FAMILIES[optimum.family]
    structure, n_components = family.covariance_type, family.n_components
    problem = {"family": optimum.family, "seed": seed, "structure": structure, "n_components": n_components}
    problem |= {"n_rows": rows.shape[0], "n_features": rows.shape[1], "reference": optimum.best}
    problem["doubts"] = optimum.doubts(rows.shape[1])
    able = {name: contender for name, contender in contenders.items() if structure in contender.structures}
    records = []
    for name, contender in able.items():
        fit = contender.fit(rows, structure, n_components, seed if family.is_real else 0)
        about = {"library": name, "version": contender.version, "processor_seconds": fit.seconds}
        records.append(problem | about | judged(fit, rows, optimum))
    return records


def judged(fit: Fit, rows: np.ndarray, optimum: Optimum) -> Record:
    """Return what a record says of what a fit has found."""
    if fit.parameters is None:
        return {"log_likelihood": None, "spiky": False, "success": False, "better": False}
    structure = FAMILIES[optimum.family].covariance_type
    height = average_log_likelihood(rows, fit.parameters, structure)
    spiky = optima.spiky(rows, fit.parameters, structure)
    return {
        "log_likelihood": height,
        "spiky": spiky,
        "success": not spiky and height >= optimum.best - optimum.tolerance,
        "better": not spiky and height > optimum.best + BETTER,
    }


def show(records: Sequence[Record]) -> str:
    """Return tables of successes and times and of the families with failures, and what else there is to say."""
    libraries = list(dict.fromkeys(record["library"] for record in records))
    by_library = {library: [r for r in records if r["library"] == library] for library in libraries}
    parts = [successes(by_library), times(by_library), failures(by_library), surprises(records), doubts(records)]
    return "\n\n".join(part for part in parts if part)


def surprises(records: Sequence[Record]) -> str:
    """Return a list of the fits that are better than the best that was known."""
    lines = [
        f"- {r['family']}, {r['seed']}: {r['library']}, by {r['log_likelihood'] - r['reference']:.2g} nats a row"
        for r in records
        if r["better"]
    ]
    return "\n".join(["Better than the reference:", *lines]) if lines else ""


def doubts(records: Sequence[Record]) -> str:
    """Return a list of the problems whose best known optimum is doubtful."""
    why = {(r["family"], optima.seed_of_rows(r["family"], r["seed"])): r["doubts"] for r in records if r["doubts"]}
    lines = [f"- {family}, {seed}: {doubt}" for (family, seed), doubt in why.items()]
    return "\n".join(["Doubtful references:", *lines]) if lines else ""


def successes(by_library: Mapping[str, Sequence[Record]]) -> str:
    """Return a table of how often each library succeeds."""
    rows = []
    for library, records in by_library.items():
        shares = [np.mean(found) for found in of_families(records).values()]
        sound = [r for r in records if r["log_likelihood"] is not None and not r["spiky"]]
        short = np.mean([max(r["reference"] - r["log_likelihood"], 0.0) for r in sound])
        rows.append(
            [
                library,
                f"{100 * np.mean([r['success'] for r in records]):.1f} %",
                f"{100 * np.mean([r['success'] for r in records if not r['doubts']]):.1f} %",
                f"{sum(share >= MOST for share in shares)} of {len(shares)}",
                str(sum(r["spiky"] for r in records)),
                str(sum(r["log_likelihood"] is None for r in records)),
                f"{short:.4f}",
            ]
        )
    return table(
        ["", "success", "of those without doubt", "families", "degenerate", "gave up", "nats a row short"], rows
    )


def of_families(records: Sequence[Record]) -> dict[str, list[bool]]:
    """Return the successes of one library by family."""
    found: dict[str, list[bool]] = {}
    for record in records:
        found.setdefault(record["family"], []).append(record["success"])
    return found


def times(by_library: Mapping[str, Sequence[Record]]) -> str:
    """Return a table of milliseconds, for small problems and for all, and of their ratios to another's."""
    beside = {_problem(r): r["processor_seconds"] for r in by_library.get(BESIDE, [])}
    rows = []
    for library, records in by_library.items():
        small = [r["processor_seconds"] for r in records if r["n_rows"] <= SMALL]
        pairs = np.array([(r["processor_seconds"], beside[_problem(r)]) for r in records if _problem(r) in beside])
        row = [library, spread(small), spread([r["processor_seconds"] for r in records])]
        if beside:
            row += [f"{np.median(pairs[:, 0] / pairs[:, 1]):.2f}", f"{np.divide(*pairs.sum(0)):.2f}"]
        rows.append(row)
    ratios = [f"median ratio to {BESIDE}", "of the totals"] if beside else []
    return table(["median / p90 / max ms", f"n <= {SMALL}", "all", *ratios], rows)


def _problem(record: Record) -> tuple[str, int]:
    return record["family"], record["seed"]


def spread(seconds: Sequence[float]) -> str:
    """Return the median, the ninth decile and the largest of some times, in milliseconds."""
    return " / ".join(f"{1e3 * time:.0f}" for time in np.quantile(seconds, [0.5, 0.9, 1.0])) if seconds else ""


def failures(by_library: Mapping[str, Sequence[Record]]) -> str:
    """Return a table of the families in which a library fails, and on how many seeds; nothing where none does."""
    found = {library: of_families(records) for library, records in by_library.items()}
    rows = []
    for family in dict.fromkeys(family for successes in found.values() for family in successes):
        of_each = [successes.get(family, []) for successes in found.values()]
        cells = [f"{each.count(False)} of {len(each)}" if not all(each) else "" for each in of_each]
        if any(cells):
            rows.append([family, *cells])
    return table(["failures", *found], rows) if rows else ""


def add_options(options: ArgumentParser) -> None:
    options.add_argument("--quick", action="store_true", help="one seed of each family")
    options.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), metavar="NAME")
    options.add_argument("--columns", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    options.add_argument("--output", type=Path, default=RESULTS / "optimum-latest.json")
    effort = Effort()
    finding = options.add_argument_group("finding the best optima")
    finding.add_argument("--find", action="store_true", help="search for them, instead of measuring")
    finding.add_argument("--searches", type=int, default=effort.searches, help="independent ones, at most")
    finding.add_argument("--agreeing", type=int, default=effort.agreeing, help="of them, enough that find the best")
    finding.add_argument("--moved", type=int, default=effort.moved, help="optima of each that are split and merged")
    finding.add_argument("--heats", type=int, default=effort.heats, help="of the trials of many starts in each")


def main(chosen: Namespace) -> None:
    seeds = SEEDS[:1] if chosen.quick else SEEDS
    torch.set_num_threads(1)
    with threadpool_limits(1), ExitStack() as stack:
        if chosen.find:
            find(chosen.families, seeds, Effort(chosen.searches, chosen.agreeing, chosen.moved, chosen.heats))
            return
        contenders = {name: CONTENDERS[name]() for name in chosen.columns if is_there(name)}
        for contender in contenders.values():
            stack.callback(contender.close)
        results: dict[str, Any] = {"machine": machine(threads=1), "optimum": []}
        for found in measure_all(chosen.families, seeds, contenders):
            results["optimum"] += found
            save(results, chosen.output)
    for name in chosen.columns:
        if name not in contenders:
            print(f"{name} was left out: it is not installed.\n")
    print(show(results["optimum"]))
