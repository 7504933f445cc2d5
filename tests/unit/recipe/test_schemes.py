"""Label schemes: what config.yaml may say, what steps are told, and what recipes may look for."""

from dataclasses import replace

import pytest

from renal import recipe
from renal.errors import InputError
from renal.labels import KITS19
from renal.recipe.schemes import KITS23, PRESETS, label_options, read_scheme

from .helpers import assert_one_line, configuration_values, nested, recipe_values

TISSUES = {1: "parenchyma", 2: "tumour", 3: "cyst", 4: "stent"}
KIDNEY = {"labels": [1, 2, 3, 4], "title": "Kidney", "colour": "#0000ff", "tolerance_mm": 2}
MASSES = {"labels": [2, 3], "title": "Masses", "colour": "#00ff00", "tolerance_mm": 1}
OWN = {
    "kidney": KIDNEY,
    "masses": MASSES,
    "tumour": {**MASSES, "labels": [2], "title": "Tumour", "lesion": True},
    "stent": {**MASSES, "labels": [4], "title": "Stent"},
}


PUBLISHED = {"dice": {"whole": [0.9, None]}, "grid": "native", "where": "Table 1"}


def scheme(labels="kits19", regions=None):
    values = configuration_values()
    values["data"] |= {"labels": labels} | ({"regions": regions} if regions else {})
    return recipe.check_configuration(values).data.scheme


def loaded(changes: dict | None = None, method: str = "resvnet", labels: str = "kits19"):
    values = configuration_values()
    values["data"]["labels"] = labels
    values |= {"methods": [method], "overrides": {method: changes or {}}}
    return recipe.load_methods(recipe.check_configuration(values))


def test_kits23_is_the_official_evaluations():
    """As ``kits23/configuration/labels.py`` has it: classes and tolerances."""
    assert [(r.name, r.labels, r.tolerance_mm) for r in KITS23.regions] == [
        ("kidney", (1, 2, 3), 1.0330772532390826),
        ("masses", (2, 3), 1.1328796488598762),
        ("tumour", (2,), 1.1498198361434828),
    ]
    assert KITS23.legend == "0 background, 1 parenchyma, 2 tumour and 3 cyst"
    assert [KITS23.own_value(region) for region in KITS23.regions] == [1, 3, 2]


def test_presets_are_asked_for_by_name():
    assert (scheme(), scheme("kits23")) == (KITS19, KITS23)
    assert {name: read_scheme(name) for name in PRESETS} == PRESETS


def test_own_labels_have_own_regions():
    labels = scheme(TISSUES, OWN)
    assert (labels.names, labels.count, labels.name) == (tuple(OWN), 5, "")
    assert labels.region("tumour").lesion and labels.region("tumour").type.meaning == "Neoplasm"
    assert labels.outer(labels.region("tumour")).name == "masses"
    # The labels of a published scheme with regions of one's own, which nobody has published.
    assert (
        scheme("kits19", {"kidney": {**KIDNEY, "labels": [1, 2]}, "mass": OWN["tumour"]}).name == ""
    )


@pytest.mark.parametrize(
    ("labels", "regions", "told"),
    [
        ("kits21", None, "labels: choose from kits19, kits23"),
        (TISSUES, None, "labels of your own need regions"),
        ({1: "parenchyma", 3: "cyst"}, OWN, "values from 1 without a gap"),
        (TISSUES, OWN | {"stone": {**MASSES, "labels": [5]}}, "regions.stone.labels: choose"),
        (TISSUES, OWN | {"composite": {**MASSES, "labels": [1]}}, "regions.composite: something"),
        (TISSUES, {"kidney": {**KIDNEY, "labels": [1, 2]}}, "the first region holds all"),
        (TISSUES, OWN | {"odd": {**MASSES, "labels": [3, 4]}}, "neither within masses nor apart"),
        (TISSUES, OWN | {"twin": MASSES}, "regions.twin: it lies neither within masses"),
        (
            TISSUES,
            OWN | {"other": {**OWN["stent"], "labels": [3]}},
            "regions.other.title: 'Stent' is",
        ),
        (TISSUES, {"kidney": KIDNEY, "masses": MASSES}, "region kidney has label values [1, 4]"),
        (TISSUES, {"the_kidney": KIDNEY}, "data.regions"),
        (TISSUES, {"kidney": {**KIDNEY, "colour": "blue"}}, "data.regions.kidney.colour"),
    ],
)
def test_a_fault_in_a_scheme_is_told_in_a_line(labels, regions, told):
    with pytest.raises(InputError) as error:
        scheme(labels, regions)
    assert_one_line(error, "config.yaml: data", told)


@pytest.mark.parametrize("labels", [KITS23, scheme(TISSUES, OWN)], ids=["kits23", "own"])
def test_steps_read_what_they_are_told(labels):
    told = {use: read_scheme(text) for use, (_, text) in label_options(labels).items()}
    assert told["shown"] == labels
    scored = told["scored"]
    assert scored.tissues == labels.tissues and scored.names == labels.names
    for region, given in zip(scored.regions, labels.regions, strict=True):
        kept = ("labels", "tolerance_mm", "lesion")
        assert [getattr(region, key) for key in kept] == [getattr(given, key) for key in kept]
    assert [r.labels for r in told["learned"].regions] == [r.labels for r in labels.regions]


def test_kits19_is_no_option_of_any_step():
    assert label_options(KITS19) == {"learned": [], "scored": [], "shown": []}


@pytest.mark.parametrize("labels", [KITS19, KITS23], ids=["kits19", "kits23"])
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"colour": "#123456", "title": "Lump"}, ["learned", "scored"]),
        ({"tolerance_mm": 2.5}, ["learned"]),
        ({"labels": (3,)}, []),
    ],
)
def test_a_change_reaches_the_steps_that_it_concerns_alone(labels, change, same):
    kidney, second, *others = labels.regions
    regions = (kidney, replace(second, **change), *others)
    changed = label_options(replace(labels, regions=regions, name=""))
    before = label_options(labels)
    assert [use for use in before if changed[use] == before[use]] == same


@pytest.mark.parametrize("text", ["kits21", "", "[]", '{"tissues": {"1": "kidney"}}'])
def test_an_unknown_scheme_is_no_option(text):
    with pytest.raises(ValueError, match="choose from kits19, kits23"):
        read_scheme(text)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (nested("stages.whole.training.target", "whole"), "stages.whole.training.target: 'whole'"),
        (nested("stages.whole.training.target", ["masses"]), "training.target: 'masses'"),
        ({"merge": {"maps": {"around": "whole"}}}, "merge.maps: 'around'"),
        ({"published": PUBLISHED}, "published.dice: 'whole'"),
    ],
)
def test_what_the_labels_do_not_have_is_not_looked_for(changes, key):
    with pytest.raises(InputError) as error:
        loaded(changes)
    assert_one_line(error, "workflow/methods/resvnet.yaml: ", key, "kidney, tumour")


@pytest.mark.parametrize(
    ("target", "key"), [("classes", ""), ({"classes": ["kidney", "tumour"]}, ".classes")]
)
def test_classes_are_looked_for_as_other_regions_are(target, key):
    """Those of KiTS19 too, which go without being named: no key that nobody wrote is blamed."""
    values = configuration_values() | {"methods": ["damnet"]}
    mass = {**OWN["tumour"], "labels": [2]}
    values["data"] |= {
        "labels": {1: "parenchyma", 2: "tumour"},
        "regions": {"kidney": {**KIDNEY, "labels": [1, 2]}, "mass": mass},
    }
    values["overrides"] = {"damnet": nested("stages.fine.training.target", target)}
    with pytest.raises(InputError) as error:
        recipe.load_methods(recipe.check_configuration(values))
    assert_one_line(error, f"damnet.yaml: stages.fine.training.target{key}: 'tumour' is no")


def test_recipes_that_find_cysts_need_labels_that_have_them():
    for method in ("damnet_cyst", "tunet_cyst"):
        with pytest.raises(InputError) as error:
            loaded(method=method)
        assert_one_line(error, f"workflow/methods/{method}.yaml", "set data.labels")
        assert (
            recipe.merging(loaded(method=method, labels="kits23"), method, KITS23).regions is None
        )


@pytest.mark.parametrize("within", [["kidney", "tumour", "masses"], ["tumour", "masses", "kidney"]])
def test_classes_are_the_kidney_and_then_what_lies_within_it(within):
    target = {"classes": within}
    with pytest.raises(InputError) as error:
        loaded(nested("stages.fine.training.target", target), "damnet_cyst", "kits23")
    assert_one_line(error, "stages.fine.training.target.classes: kidney is expected, then")


def test_a_merge_without_the_kidney_is_told(methods_in):
    values = {**recipe_values(), "merge": {"name": "nested", "maps": {"tumour": "tumour"}}}
    with pytest.raises(InputError) as error:
        methods_in("mine", mine=values)
    assert_one_line(error, "workflow/methods/mine.yaml: merge.maps: kidney, which all others")


def test_rows_of_two_classes_are_scored_for_those():
    recipes = loaded(method="damnet", labels="kits23")
    assert recipe.merging(recipes, "damnet", KITS23).regions == ("kidney", "tumour")
    assert recipe.merging(recipes, "damnet").regions is None
