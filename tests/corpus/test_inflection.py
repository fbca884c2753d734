import pytest

from tubelet.corpus.inflection import base_form, ing_form, plural, singular, third_person

# (infinitive, -ing form), one per rule; the second group is where a naive rule goes wrong.
VERBS = [
    ("burn", "burning"),
    ("dance", "dancing"),
    ("drive", "driving"),
    ("run", "running"),
    ("swim", "swimming"),
    ("clap", "clapping"),
    ("ride", "riding"),
    ("use", "using"),
    ("juggle", "juggling"),
    ("squeeze", "squeezing"),
    ("massage", "massaging"),
    ("celebrate", "celebrating"),
    ("tie", "tying"),
    ("fall", "falling"),
    ("kiss", "kissing"),
    ("buzz", "buzzing"),
    ("eat", "eating"),
    ("open", "opening"),
    ("fix", "fixing"),
    ("play", "playing"),
    ("show", "showing"),
    ("curl", "curling"),
    ("crawl", "crawling"),
    ("climb", "climbing"),
    ("ski", "skiing"),
    ("canoe", "canoeing"),
    ("change", "changing"),
    ("hang", "hanging"),
    ("taste", "tasting"),
]


@pytest.mark.parametrize(("infinitive", "participle"), VERBS)
def test_verbs_both_ways(infinitive: str, participle: str) -> None:
    assert base_form(participle) == infinitive
    assert ing_form(infinitive) == participle
    assert ing_form(participle) == participle
    assert base_form(infinitive) == infinitive


@pytest.mark.parametrize("word", ["sing", "king", "ring", "thing", "yoga", "ing", "fish"])
def test_words_that_are_no_participles(word: str) -> None:
    assert base_form(word) == word


def test_ing_form_of_a_verb_that_ends_like_one() -> None:
    assert ing_form("sing") == "singing"
    assert base_form("singing") == "sing"


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("candle", "candles"),
        ("box", "boxes"),
        ("brush", "brushes"),
        ("glass", "glasses"),
        ("party", "parties"),
        ("boy", "boys"),
        ("knife", "knives"),
        ("man", "men"),
        ("fish", "fish"),
    ],
)
def test_nouns_both_ways(one: str, many: str) -> None:
    assert (plural(one), singular(many)) == (many, one)
    assert (plural(many), singular(one)) == (many, one)


@pytest.mark.parametrize(
    ("infinitive", "third"),
    [
        ("throw", "throws"),
        ("carry", "carries"),
        ("play", "plays"),
        ("catch", "catches"),
        ("fix", "fixes"),
        ("dance", "dances"),
        ("go", "goes"),
        ("tiptoe", "tiptoes"),
        ("moo", "moos"),
        ("fish", "fishes"),
    ],
)
def test_third_person(infinitive: str, third: str) -> None:
    assert third_person(infinitive) == third
