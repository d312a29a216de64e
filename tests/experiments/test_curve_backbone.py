"""`backbone: auto` of a curve is settled once, whatever the order of the methods."""

import pytest

from experiments.curve import conduct, grid
from experiments.curve.cell import perform
from pipeline.errors import UserError
from pipeline.networks import backbones
from tests.data.pictures import write_classes

pytestmark = pytest.mark.skipif(
    backbones.at_hand() == backbones.NONE, reason="no weights of a trained network are installed"
)


@pytest.fixture
def photographs(tmp_path, store):
    """Flags of a curve whose smallest count, a label a class, leaves nothing to measure."""
    folder = write_classes(tmp_path / "mine", ("train", "test"), n=6)
    flags = {"dataset": "folder", "data_dir": str(folder), "kind": "photos", "seeds": "1"}
    return {**flags, "label_counts": "2,4", "name": "c"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "methods",
    ["supervised,sgan,ssgan", "supervised,ssgan,sgan", "sgan,fixmatch,supervised_all,supervised"],
)
def test_all_cells_are_on_one_network_and_who_is_not_by_default_is_named(photographs, methods):
    found, *_, words = conduct._prepared(grid.read({**photographs, "methods": methods}))
    assert {cell.config.backbone for cell in found.cells()} == {backbones.at_hand()}
    (said,) = [each for each in words if "by default" in each]
    assert said.startswith(f"sgan: on backbone {backbones.at_hand()} like the others")
    assert any("single label" in each for each in words)


def test_methods_that_are_never_on_a_backbone_by_themselves_stay_so(photographs):
    found, *_, words = conduct._prepared(grid.read({**photographs, "methods": "supervised,sgan"}))
    assert {cell.config.backbone for cell in found.cells()} == {backbones.NONE}
    assert not any("backbone" in each for each in words)


def test_a_cell_whose_backbone_is_not_settled_is_refused(photographs):
    whole = grid.read({**photographs, "methods": "supervised,ssgan"})
    found, *_ = conduct._prepared(whole)
    cell = found.cells()[0]
    config = cell.config.model_copy(update={"backbone": backbones.AUTO})
    open_ = grid.Cell(cell.method, cell.n_labels, config, cell.digest)
    job = conduct._job(found, [open_])
    with pytest.raises(UserError, match=r"backbone = 'auto': not settled for supervised, 2 labels"):
        perform(open_, job, lambda: pytest.fail("it has begun"))
