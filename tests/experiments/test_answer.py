"""What a study's folder keeps of its answers."""

from experiments.search.answer import Point, remove_beaten


def test_a_trial_that_is_beaten_now_loses_its_file(tmp_path):
    names = [f"best-50-labels-ssgan-trial-{number}.yaml" for number in (3, 12)]
    for name in [*names, "best-of-mine.yaml", "trials.parquet"]:
        (tmp_path / name).touch()
    point = Point(12, "ssgan", 50, 50.0, (0.1,), {}, "a", True, file=str(tmp_path / names[1]))
    remove_beaten(tmp_path, [point])
    left = {names[1], "best-of-mine.yaml", "trials.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == left
