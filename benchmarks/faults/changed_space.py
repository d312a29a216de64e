"""An old study name with another space, other settings, another seed.

python -m benchmarks.faults.changed_space
"""

import sys

from benchmarks.faults.scene import Scene, scene, told


def main() -> int:
    """Run it and print the checks; data that changed are among the failing trials."""
    with scene("a study's name with something else to search") as it:
        _changed(it)
    return told([it])


def _changed(it: Scene) -> None:
    code, said = it.end(it.start(trials=2))
    it.check("a study is there", code == 0 and not said, f"{code} {said}")
    before = {run.info.run_id: (run.info.status, run.info.end_time) for run in it.runs()}
    rate = {"low": 1e-4, "high": 5e-2, "log": True}
    changes = {
        "space": ({"discriminator_lr": rate}, {}, ("discriminator_lr:", "0.01", "0.05")),
        "what is searched": ({"discriminator_lr": None}, {}, ("discriminator_lr:", "not there")),
        "a fixed key": ({}, {"steps": 40}, ("steps: 60 → 40",)),
        "the price of a label": ({}, {"label_cost": 3}, ("label_cost: 1.0 → 3.0",)),
        "the seed": ({}, {"seed": 7}, ("seed: 0 → 7",)),
    }
    for what, (space, flags, words) in changes.items():
        it.space(**space)
        code, said = it.end(it.start(trials=2, **flags))
        told_so = code == 2 and len(said) == 1 and all(word in said[0] for word in words)
        it.check(f"{what}: exit code 2, one line, the difference", told_so, f"{code} {said}")
    it.space()
    after = {run.info.run_id: (run.info.status, run.info.end_time) for run in it.runs()}
    it.check("no run was made or touched", before == after, f"{len(before)} {len(after)}")
    code, said = it.end(it.start(trials=3, workers=1))
    it.check("more trials go on", code == 0 and not said, f"{code} {said}")
    it.counts(3)


if __name__ == "__main__":
    sys.exit(main())
