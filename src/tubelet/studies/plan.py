"""What a study is: arms, the paper's numbers, and claims about the difference between arms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

ON_DETECTED = "localise mAP on detected boxes"
"""The quantity that a playground has only where people were looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperTable:
    """The paper's numbers, transcribed whole."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One way to train that a study compares: a recipe's row."""

    name: str
    """As the study's tables call it."""
    recipe: Literal["paper_a", "paper_b"]
    row: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Actions:
    """Two arms, of the verbs and of the nouns of the same clips, scored as actions (paper B, 4.4)."""

    name: str
    verbs: str
    """Name of the arm of verbs."""
    nouns: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A score of an arm, times a number."""

    arm: str
    quantity: str
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A sum of scores that is above 0, or level with it; points are per cent."""

    text: str
    terms: tuple[Term, ...]
    level_within: float | None = None
    """None = above 0; else between minus this and this, in points."""

    def difference(self, scores: Mapping[str, Mapping[str, float]]) -> float | None:
        """Return the sum in points for one seed; None where a score is missing.

        Args:
            scores: Arm to quantity to score in [0, 1].
        """
        total = 0.0
        for term in self.terms:
            score = scores.get(term.arm, {}).get(term.quantity)
            if score is None:
                return None
            total += 100 * term.weight * score
        return total


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A table or figure as runs and a comparison."""

    name: str
    """``<paper>-table-<n>`` or ``<paper>-figure-<n>``."""
    title: str
    paper: PaperTable | None
    """None = our own question."""
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    quantities: tuple[str, ...]
    """Columns of the result, ``<set> <metric>``."""
    notes: str = ""
    """How the miniature differs from the paper, beyond size."""
    actions: tuple[Actions, ...] = ()
    """Pairs of its arms."""
    corpora: tuple[tuple[str, str], ...] = ()
    """Names, and the corpora whose labels are counted: nothing is trained on them."""

    @property
    def drawn(self) -> str:
        """Quantity of the picture: the mAP where there is one, else the first."""
        return next((quantity for quantity in self.quantities if quantity.endswith(" mAP")), self.quantities[0])

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of all that has scores: the arms, the pairs of them, the corpora."""
        return (*(arm.name for arm in self.arms), *(pair.name for pair in self.actions), *dict(self.corpora))


def arms_of(recipe: Literal["paper_a", "paper_b"], *rows: tuple[str, str]) -> tuple[Arm, ...]:
    """Return arms from pairs of a name and a recipe's row."""
    return tuple(Arm(name=name, recipe=recipe, row=row) for name, row in rows)


def table_of(columns: str, *rows: str) -> PaperTable:
    """Return a table from lines whose cells are parted by bars."""

    def cells(line: str) -> tuple[str, ...]:
        return tuple(cell.strip() for cell in line.split("|"))

    return PaperTable(columns=cells(columns), rows=tuple(map(cells, rows)))


def beats(better: str, worse: str, quantity: str, text: str = "") -> Claim:
    """Claim that one arm's score is above another's."""
    terms = (Term(arm=better, quantity=quantity, weight=1.0), Term(arm=worse, quantity=quantity, weight=-1.0))
    return Claim(text=text or f"{better} beats {worse} in {quantity}", terms=terms)


def beats_in_the_mean(better: Sequence[str], worse: str, quantity: str) -> Claim:
    """Claim that the mean of several arms' scores is above another's."""
    terms = tuple(Term(arm=name, quantity=quantity, weight=1 / len(better)) for name in better)
    text = f"the mean of {', '.join(better)} beats {worse} in {quantity}"
    return Claim(text=text, terms=(*terms, Term(arm=worse, quantity=quantity, weight=-1.0)))


def level(one: str, other: str, quantity: str, *, within: float) -> Claim:
    """Claim that two arms' scores differ by less than ``within`` points."""
    claim = beats(one, other, quantity, f"{one} and {other} are level in {quantity}, within {within:g} points")
    return Claim(text=claim.text, terms=claim.terms, level_within=within)


def gains_more(better: str, worse: str, quantity: str, than: str, text: str = "") -> Claim:
    """Claim that one arm's lead over another is larger in one quantity than in a second."""
    more, less = beats(better, worse, quantity).terms, beats(worse, better, than).terms
    return Claim(text=text or f"{better} gains more over {worse} in {quantity} than in {than}", terms=more + less)


def higher(arm: str, quantity: str, than: str, text: str) -> Claim:
    """Claim that an arm scores higher in one quantity than in another."""
    terms = (Term(arm=arm, quantity=quantity, weight=1.0), Term(arm=arm, quantity=than, weight=-1.0))
    return Claim(text=text, terms=terms)


def grows(arms: Sequence[tuple[str, float]], quantity: str) -> Claim:
    """Claim that a score grows with the logarithm of a size: points per tenfold, by least squares, are above 0.

    Args:
        arms: (name, size) of each.
        quantity: The score.
    """
    logs = [math.log10(size) for _, size in arms]
    middle = fmean(logs)
    total = sum((value - middle) ** 2 for value in logs)
    terms = tuple(
        Term(arm=name, quantity=quantity, weight=(value - middle) / total)
        for (name, _), value in zip(arms, logs, strict=True)
    )
    return Claim(text=f"{quantity} grows with each tenfold, {arms[0][0]} to {arms[-1][0]}", terms=terms)


def closes(full: str, part: str, full_before: str, part_before: str, quantity: str) -> Claim:
    """Claim that the lead of one way over another shrinks from an earlier pair of arms to a later one."""
    terms = beats(full_before, part_before, quantity).terms + beats(part, full, quantity).terms
    return Claim(text=f"{part} closes on {full}: {part_before} was further behind {full_before}", terms=terms)


def saturates(arms: Sequence[tuple[str, float]], quantity: str) -> tuple[Claim, Claim]:
    """Claim that a score gains by the first step of three sizes, and less by the second, counted for each tenfold.

    Args:
        arms: (name, size) of the three; the second claim alone would hold of a collapse too.
        quantity: The score.
    """
    (first, few), (middle, some), (last, many) = arms
    early, late = 1 / math.log10(some / few), 1 / math.log10(many / some)
    weights = {first: -early, middle: early + late, last: -late}
    slower = Claim(
        text=f"{quantity} saturates: {middle} to {last} gains less with each tenfold than {first} to {middle}",
        terms=tuple(Term(arm=name, quantity=quantity, weight=weight) for name, weight in weights.items()),
    )
    return beats(middle, first, quantity), slower
