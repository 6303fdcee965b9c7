"""SPECs are read by Python's parser and never evaluated; a grid is the product of its alternatives."""

import itertools

import pytest

from thetadot.comparing.asking import specs_of
from thetadot.comparing.spec import MOST_POINTS, parse_spec
from thetadot.errors import InadmissibleValue, ThetadotError, TooLarge


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("sgd:lr=0.1,momentum=0.9", "sgd:lr=0.1,momentum=0.9"),
        ("SGD(lr=0.1, momentum=0.9)", "sgd:lr=0.1,momentum=0.9"),
        ("adamw:lr=1e-3", "adamw:lr=0.001"),
        ("adamw", "adamw"),
        ("untuned", "untuned"),
        ("run", "untuned"),
        ("run:lr=0.1,optimizer=adam", "run:lr=0.1,optimizer='adam'"),
        ("sgd:lr=.1,schedule=cosine,batch_size=8", "sgd:lr=0.1,schedule=cosine,batch_size=8"),
        ("sgd:lr=.1,schedule=constant", "sgd:lr=0.1"),
        ("prodigyopt:Prodigy(lr=1.0)", "prodigyopt:Prodigy:lr=1.0"),
        ("prodigyopt:Prodigy", "prodigyopt:Prodigy"),
        ("a.b:C.d:lr=1", "a.b:C.d:lr=1"),
        ("dir/mine.py:Lion(lr=1e-4, betas=(0.9, 0.99), foreach=None)", None),
    ],
)
def test_a_point_is_read_and_written(text, label):
    (point,) = parse_spec(text).points
    assert label in (None, point.label)
    assert parse_spec(point.label).points == (point,)  # what is shown can be given again


def test_a_grid_is_a_product_in_the_order_given():
    spec = parse_spec("sgd:lr=0.1|1|1.0|10,momentum=0|0.9,nesterov=False")
    found = [dict(point.settings) for point in spec.points]
    # 1 and 1.0 are two texts of one number, and one point
    expected = [{"lr": lr, "momentum": m, "nesterov": False} for lr, m in itertools.product((0.1, 1, 10), (0, 0.9))]
    assert found == expected
    assert spec.grid
    assert not parse_spec("sgd:lr=0.1|0.1").grid


def test_a_grid_over_optimizers_is_the_sum_of_theirs():
    one, other = "sgd:lr=0.1|1,momentum=0.9", "AdamW(lr=1e-3|1e-2)"
    for between in ("; ", ";", " ;\n"):
        assert parse_spec(one + between + other).points == parse_spec(one).points + parse_spec(other).points
    assert parse_spec("a:B(name='x;y')").points[0].settings == (("name", "x;y"),)
    assert len(parse_spec("sgd:lr=0.1; sgd(lr=0.1)").points) == 1


def test_a_long_grid_has_a_short_name_and_two_of_them_their_texts():
    text = "sgd:lr=0.01|0.1,momentum=0.9,schedule=cosine; adamw:lr=1e-3|1e-2,schedule=cosine"
    other = text.replace("0.9", "0.8")
    assert parse_spec(text).name == "sgd or adamw (best of 4)"
    assert parse_spec(text, "grid").name == "grid"
    assert [spec.name for spec in specs_of([text, "sgd:lr=0.1"])] == ["sgd or adamw (best of 4)", "sgd:lr=0.1"]
    assert [spec.name for spec in specs_of([text, other])] == [text, other]


def test_settings_in_another_order_are_the_same_point():
    one, other = (parse_spec(text).points[0] for text in ("sgd:lr=1,momentum=0", "sgd:momentum=0,lr=1"))
    assert one.identity == other.identity
    assert parse_spec("sgd:lr=1").points[0].identity != parse_spec("sgd:lr=2").points[0].identity


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no optimizer with settings"),
        (":", "no optimizer with settings"),
        ("sgd:", "no optimizer with settings"),
        ("sgd:lr=1) or f(x=2", "no optimizer with settings"),
        ("sgd:0.1", "has no name"),
        ("sgd:**{}", "has no name"),
        ("sgd:lr=", "cannot be read"),
        ("sgd:lr=1|", "cannot be read"),
        ("sgd:lr=0.1\x00", "cannot be read"),
        ("sgd:lr=" + "(" * 300, "cannot be read"),
        ("sgd:lr=0.1,lr=0.2", "given twice"),
        ("sgd:lr=nan", "lr=nan is no number"),
        ("sgd:lr=1e999", "not finite"),
        ("sgd:lr=" + "9" * 40, "not finite, or beyond"),
        ("sgd:lr=true", "lr=true is no number"),
        ("sgd:lr=b'1'", "a bytes"),
        ("sgd:lr={1: 2}", "a dict"),
        ("sgd:lr=1j", "a complex"),
        ("sgd:schedule=cosin", "schedule='cosin' is unknown"),
        ("sgd:schedule=3", "schedule=3 is unknown"),
        ("sgd:batch_size=0", "batch_size=0"),
        ("sgd:batch_size=1.5", "batch_size=1.5"),
        ("untuned:lr=0.1", "nothing given"),
        ("untuned; sgd:lr=0.1", "cannot be a part of a grid with others"),
        ("sgd:lr=0.1|1; run:lr=0.1", "cannot be a part of a grid with others"),
        ("sgd:lr=0.1;", "no optimizer with settings"),
        (";sgd:lr=0.1", "no optimizer with settings"),
        ("sgd:lr=0.1;;adamw", "no optimizer with settings"),
        ("sgd:lr=" + "1" * 3000, "longer"),
    ],
)
def test_what_is_no_spec_is_refused(text, said):
    with pytest.raises(InadmissibleValue) as told:
        parse_spec(text)
    assert said in str(told.value)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("call", ["__import__('os').getpid()", "open('{}', 'w')", "[open('{}', 'w') for _ in (1,)]"])
def test_nothing_is_evaluated(call, tmp_path):
    place = tmp_path / "made"
    for text in (f"sgd:lr={call.format(place)}", f"a:B(lr={call.format(place)})"):
        with pytest.raises(ThetadotError):
            parse_spec(text)
    assert not place.exists()


def test_a_grid_that_is_too_large_is_refused_before_it_is_made():
    values = "|".join(str(k + 1) for k in range(100))
    with pytest.raises(TooLarge, match=f"10,000 points, more than {MOST_POINTS:,}"):
        parse_spec(f"sgd:lr={values},momentum={values}")
    part = f"sgd:lr={values},momentum=" + "|".join(str(k / 10) for k in range(6))
    with pytest.raises(TooLarge, match="1,200 points"):
        parse_spec(f"{part}; {part.replace('sgd', 'rmsprop')}")
