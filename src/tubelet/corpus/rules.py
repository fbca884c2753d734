"""What a rule did: how many there were before it and after, so that nothing disappears unexplained."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleCount:
    """What one rule did."""

    rule: str
    """What is true of everything that is kept."""
    unit: str
    """What is counted: ``posts``, ``tags``, ``videos``, ``labels``, ``clips``, ``hours``."""
    before: float
    """A whole number, but for hours."""
    after: float
    first_dropped: str = ""
    """Where the first that was dropped stands, where that can be said."""

    @property
    def dropped(self) -> float:
        """How many the rule removed."""
        return self.before - self.after

    def to_json(self) -> dict[str, Any]:
        """Return the fields and how many were dropped."""
        found = {"rule": self.rule, "unit": self.unit, "before": self.before, "after": self.after}
        first = {"first_dropped": self.first_dropped} if self.first_dropped else {}
        return found | {"dropped": self.dropped} | first


def rule_lines(rules: Iterable[RuleCount]) -> list[str]:
    """Return a line for each rule, as the commands print them: before, after, dropped."""
    lines = [f"{'before':>13} {'after':>13} {'dropped':>13}"]
    for rule in rules:
        numbers = " ".join(f"{_number(n):>13}" for n in (rule.before, rule.after, rule.dropped))
        first = f" (first dropped: {rule.first_dropped})" if rule.first_dropped else ""
        lines.append(f"{numbers}  {rule.unit}: {rule.rule}{first}")
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
