from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.corpus.hashtags import expand_label, word_forms
from tubelet.corpus.tags import normalise_tag, tags_from_text
from tubelet.types import InputError


def test_the_example_of_paper_b() -> None:
    tags = list(expand_label("catching a fish").hashtags)
    assert {"catchingafish", "catchfish", "fishcatching"} <= set(tags)
    # Three forms of one word: 3! orders of three words and 2! of two, each in every form.
    verbs = ("catching", "catch", "catches")
    expected = {"".join(order) for verb in verbs for order in permutations((verb, "a", "fish"))}
    expected |= {"".join(order) for verb in verbs for order in permutations((verb, "fish"))}
    assert tags == sorted(expected)


def test_forms_are_the_word_its_stem_and_what_people_write() -> None:
    assert word_forms("dancing") == {"dancing", "danc", "dance"}
    assert word_forms("football") == {"football", "footbal"}  # Snowball's stem is no word, and harmless
    assert word_forms("the") == {"the"}


def test_third_person_of_the_verb_and_number_of_the_noun() -> None:
    tags = set(expand_label("carrying big boxes").hashtags)
    assert {f"{verb}big{noun}" for verb in ("carrying", "carry", "carries") for noun in ("box", "boxes")} <= tags
    assert not {"carrybigsbox", "boxescarryingbigs"} & tags  # neither first nor last: only as it is and its stem
    assert {"dancing", "dance", "dances", "danc"} == set(expand_label("dancing").hashtags)
    assert {"highjump", "highjumps"} <= set(expand_label("high jump").hashtags)


def test_function_words_at_the_end_belong_to_the_verb() -> None:
    assert {"gettingup", "getup", "getsup", "upgetting", "upget", "upgets"} == set(expand_label("getting up").hashtags)
    over = set(expand_label("jumping over a box").hashtags)
    assert {"jumpbox", "boxjumping", "jumpingoverabox"} <= over
    assert not {"jump", "jumpingover"} & over


@pytest.mark.parametrize(
    ("label", "inside", "outside"),
    [
        (
            "passing American football (not in game)",
            {"passamericanfootball"},
            {"game", "passingamericanfootballnotingame"},
        ),
        ("tying knot (not on a tie)", {"tyingknot", "tieknot", "knottying"}, {"tyingknottie"}),
        ("playing squash or racquetball", {"playsquash", "racquetballplaying"}, {"playingsquashorracquetball"}),
        ("bend/bow (at the waist)", {"bend", "bow"}, {"bendbow"}),
        ("massaging person's head", {"massagingpersonshead", "massagepersonhead"}, set()),
        ("push-ups", {"pushups", "pushup"}, {"upspush"}),
        ("Röntgen", {"röntgen"}, set()),
    ],
)
def test_labels_as_published(label: str, inside: set[str], outside: set[str]) -> None:
    tags = set(expand_label(label).hashtags)
    assert inside <= tags
    assert not outside & tags


def test_long_labels_keep_their_order_and_are_counted() -> None:
    long = expand_label("walking six big dogs across town slowly")
    # Seven words, and six without "across": neither is permuted.
    assert long.num_orders_left_out == 2
    assert {"walkingsixbigdogsacrosstownslowly", "walksixbigdogtownslowli"} <= set(long.hashtags)
    assert not any(tag.startswith("slow") for tag in long.hashtags)
    short = expand_label("walking six big dogs across town", max_words=5)
    assert short.num_orders_left_out == 1
    assert "towndogsbigsixwalking" in short.hashtags
    assert expand_label("walking the dog", max_words=2).num_orders_left_out == 1


def test_a_label_without_a_word_is_refused() -> None:
    for label in ("", "  ", "(not in game)", "!!!", "2019"):
        with pytest.raises(InputError, match="has no word"):
            expand_label(label)


def test_every_hashtag_is_spelled_as_a_tag_is_compared() -> None:
    for label in ("Playing Ice-Hockey & Golf", "straße fegen", "drinking shots"):
        assert all(normalise_tag(tag) == tag for tag in expand_label(label).hashtags)


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        ("#CatchFish", "catchfish"),
        ("catch_fish", "catchfish"),
        ("\uff03\uff26\uff49\uff53\uff48", "fish"),  # full width
        ("fish🐟🎣", "fish"),
        ("🐟", None),
        ("❤️love❤️", "love"),  # a heart is a sign with a variation mark
        ("2019", None),
        ("throwback2019", "throwback2019"),
        ("#釣り", "釣り"),
        ("#मछली", "मछली"),  # vowel signs are marks of letters
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("café", "café"),
        ("cafe\u0301", "café"),  # composed
        ("!!!", None),
        ("", None),
        ("#", None),
    ],
)
def test_normalise_tag(raw: str, tag: str | None) -> None:
    assert normalise_tag(raw) == tag


@given(st.text())
def test_a_normalised_tag_stays_as_it_is(raw: str) -> None:
    tag = normalise_tag(raw)
    assert tag is None or normalise_tag(tag) == tag


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("Sunday! #fishing #Catch_Fish, fun", ["fishing", "Catch_Fish"]),
        ("#a#b #c", ["a", "b", "c"]),
        ("I like C# and F#.", []),
        ("rock&#39;n roll", []),
        ("see example.org/#top", []),
        ("#2019 #2019goals", ["2019goals"]),
        ("\uff03釣り #मछली!", ["釣り", "मछली"]),
        ("#fish🐟", ["fish"]),
        ("(#fish)", ["fish"]),
        ("##fish", ["fish"]),
        ("#", []),
        ("no tags", []),
    ],
)
def test_tags_from_text(caption: str, tags: list[str]) -> None:
    assert tags_from_text(caption) == tags


@given(st.text(alphabet="#ab 1_&é🐟", max_size=30))
def test_parsing_any_caption_gives_usable_tags(caption: str) -> None:
    assert all(normalise_tag(tag) is not None for tag in tags_from_text(caption))
