import pytest

from tubelet.labels import LabelSpace, mirror_columns
from tubelet.types import InputError

SPACE = LabelSpace(name="two", names=("walk", "run"), ids=(3, 7), groups=("pose", "pose"), buckets=("head", "tail"))


def test_columns_by_name_and_by_published_id():
    assert SPACE.index("run") == 1
    assert SPACE.published_ids.index(7) == 1
    assert LabelSpace(name="plain", names=("a", "b")).published_ids == (0, 1)


def test_json_round_trip():
    assert LabelSpace.from_json(SPACE.to_json()) == SPACE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SPACE.index("rum"), "did you mean 'run'"),
        (lambda: LabelSpace(name="x", names=("a", "a")), "unique"),
        (lambda: LabelSpace(name="x", names=("a", "b"), ids=(3, 3)), r"ids must be unique, these are not: \[3\]"),
        (lambda: LabelSpace(name="x", names=("a", "b"), ids=(1,)), "1 ids for 2 names"),
    ],
)
def test_mistakes_are_named_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning the camera left while filming", "Turning the camera right while filming"),
        ("swipe_right", "swipe_left"),
        ("MoveLeftHand", "MoveRightHand"),
        ("LEFT", "RIGHT"),
        ("leftwards", "rightwards"),
        ("turning clockwise", "turning counterclockwise"),
        ("turning anti-clockwise to the left", "turning clockwise to the right"),
    ],
)
def test_names_are_mirrored(name, image):
    space = LabelSpace(name="x", names=(name, "still", image))
    assert mirror_columns(space) == (2, 1, 0)


@pytest.mark.parametrize("name", ["upright", "Copyright", "bright light", "leftover food", "nightclub", "righteous"])
def test_words_that_only_contain_a_direction_stay(name):
    assert mirror_columns(LabelSpace(name="x", names=("walk", name))) == (0, 1)


def test_directions_that_cannot_be_mirrored_are_named():
    with pytest.raises(InputError, match="class 'swipe left' depends on direction and 'swipe right' is no class"):
        mirror_columns(LabelSpace(name="x", names=("walk", "swipe left")))
    with pytest.raises(InputError, match=r"mirrored\[0\] is 1, expected columns that swap in pairs or stay"):
        LabelSpace(name="x", names=("a", "b", "c"), mirrored=(1, 2, 0))
    stated = LabelSpace(name="x", names=("gauche", "droite"), mirrored=(1, 0))
    assert mirror_columns(LabelSpace.from_json(stated.to_json())) == (1, 0)
