"""The public sets by name, in the layout that MedVLSM gave them and with palpate's own fields."""

import pytest

from palpate.data import DATASETS, load_data
from palpate.data.annotations import SPLITS, read_entries
from palpate.data.phantoms import PHANTOMS
from palpate.data.sources.cards import CARDS

from .conftest import DataFolder

# Name, folder, names of an image and a mask there, and what they mean.
PUBLISHED = [
    ("kvasir", "kvasir_polyp", "cju0qk.jpg", "cju0qk.jpg", "polyp", "cju0qk.jpg"),
    ("clinicdb", "clinicdb_polyp", "288.png", "288.png", "polyp", "288.png"),
    ("bkai", "bkai_polyp", "37629.jpeg", "37629.jpeg", "polyp", "37629.jpeg"),
    ("cvc300", "cvc300_polyp", "149.png", "149.png", "polyp", "149.png"),
    ("colondb", "colondb_polyp", "209.png", "209.png", "polyp", "209.png"),
    ("etis", "etis_polyp", "12.png", "12.png", "polyp", "12.png"),
    ("isic", "isic", "ISIC_1.jpg", "ISIC_1_Segmentation.png", "skin lesion", "ISIC_1.jpg"),
    ("dfu", "dfu", "100001.jpg", "100001.png", "foot ulcer", "100001.jpg"),
    (
        "camus", "camus", "patient0001_2CH_ED.png", "mask_3/patient0001_2CH_ED_gt.png",
        "left atrium", "patient0001",
    ),
    ("busi", "busi", "1_malignant.png", "1_malignant.png", "breast tumour", "1_malignant.png"),
    (
        "chexlocalize", "chexlocalize", "patient64832_study1_view2_lateral.jpg",
        "patient64832_study1_view2_lateral_airspace_opacity.png", "airspace opacity",
        "patient64832",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "folder", "image", "mask", "structure", "group"),
    PUBLISHED,
    ids=[p[0] for p in PUBLISHED],
)
def test_a_folder_as_medvlsm_has_it_is_loaded_by_name(
    name, folder, image, mask, structure, group, tmp_path
):
    DataFolder(tmp_path / folder).add(image, mask).write()
    case = load_data(name, tmp_path)[0].case
    assert (case.dataset, case.structure, case.group) == (name, structure, group)


def test_what_a_file_says_of_group_and_structure_wins(tmp_path):
    folder = DataFolder(tmp_path / "camus").add("a.png", "b.png").add("c.png", "mask_1/c.png")
    folder.entries[0] |= {"group": "patient A", "structure": "heart", "facts": {"view": "4CH"}}
    folder.entries[1] |= {"group": "patient B"}
    cases = load_data("camus", folder.write().path).cases
    assert [case.group for case in cases] == ["patient A", "patient B"]
    assert [case.structure for case in cases] == ["heart", "left ventricle"]
    assert [entry.facts for entry in read_entries(folder.path, "test")] == [{"view": "4CH"}, {}]


def test_names_that_say_nothing_are_still_refused_where_the_file_is_silent(tmp_path):
    folder = DataFolder(tmp_path / "camus").add("a.png", "b.png")
    folder.entries[0] |= {"group": "patient A"}
    with pytest.raises(ValueError, match=r"Expected a CAMUS mask under mask_1.*got 'b\.png'"):
        load_data("camus", folder.write().path)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"group": 3}, "entry 0: expected a text in 'group', got 3"),
        ({"structure": ""}, "expected a text in 'structure', got ''"),
        ({"facts": ["x"]}, "expected 'facts' with a text each, got"),
        ({"facts": {"age": 3}}, "expected 'facts' with a text each, got"),
    ],
)
def test_fields_of_palpate_that_are_no_texts_are_refused(field, message, data_folder):
    data_folder.entries[0] |= field
    with pytest.raises(ValueError, match=message):
        load_data("folder", data_folder.write().path)


def test_every_public_set_has_a_card_and_every_card_a_set():
    assert set(CARDS) == set(DATASETS) - set(PHANTOMS) - {"folder"}
    for card in CARDS.values():
        assert card.url.startswith("https://")
        assert "https://" in card.citation
        assert card.licence
        assert all(count > 0 for count in card.counts.values())
        assert set(card.counts) <= {"all", *SPLITS}
        assert "all" not in card.counts or len(card.counts) == 1


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore:.* entries more than once")
@pytest.mark.parametrize(
    ("splits", "least"), [(["test"], 1500), pytest.param(SPLITS, 7000, marks=pytest.mark.slow)]
)
def test_all_published_names_are_understood(splits, least, real_root):
    read = 0
    for name, folder, *_ in PUBLISHED:
        for path in sorted((real_root / "published-annotations" / folder / "anns").glob("*.json")):
            if path.stem not in splits or path.read_text().strip() == "[]":
                continue  # sets that only test have no entries to validate with
            entries = read_entries(path.parent.parent, path.stem)
            for entry in entries:
                assert DATASETS[name].structure(entry.mask_name)
                assert DATASETS[name].group(entry.image_name)
            read += len(entries)
    assert read > least
