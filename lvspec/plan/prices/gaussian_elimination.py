"""What a Gaussian vector pays that is integrated out of squares by QR: the step of runtime/gaussian/elimination.py.

Numbers are of 8 bytes. What is kept for the way back are the rows (A | b), Q and R, and what passes through them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvspec.ir.spec import Variable
from lvspec.plan.prices.price import FACTORISATION, SLOWER, TRAINING, Pricer

DOUBLE = 2  # numbers of 8 bytes, in those of 4
MANY = 2  # rows for each column, beyond which they become fewer: runtime/gaussian/elimination.py
GRADIENTS = 4  # of QR, each as large as Q, that are there at once on the way back


@dataclass(frozen=True)
class VectorElimination:
    """A vector of `entries`, with a root of `new` columns, integrated out of `rows` (A | b) given `others`: what
    runtime/gaussian/elimination.py does. fewer: whether many rows that are left become few."""

    rows: float
    entries: float
    new: float
    others: float
    fewer: bool = False

    @property
    def height(self) -> float:
        """Rows of Q: those of what is said, and of the prior."""
        return self.rows + self.new

    @property
    def many(self) -> bool:
        return self.fewer and self.height > MANY * (self.others + 1)

    @property
    def left(self) -> float:
        """Rows of what is left of the others."""
        return self.others + 1 if self.many else self.height

    @property
    def kept(self) -> float:
        """(A | b), Q, R, what Q is taken off of and what is left of it, Q' times it, p(z | u); of rows that become fewer Q,
        and the square of what that leaves out, which goes along from then on: itself, and two products of it."""
        columns = self.others + 1
        said, through = self.rows * (self.entries + columns), self.height * self.new + self.new**2
        ahead = 2 * self.height * columns + self.new * columns + self.entries * (self.new + columns)
        width = self.entries + columns
        fewer = self.height * columns + width * (width + 2 * columns) if self.many else 0.0
        return said + through + ahead + fewer

    @property
    def passing(self) -> float:
        return GRADIENTS * self.height * max(self.new, self.others + 1 if self.many else 0.0)

    @property
    def flops(self) -> float:
        columns = self.others + 1
        pulled = self.rows * self.entries * (self.new + self.others)
        through = 2 * self.height * self.new * (self.new + columns) + self.new * (self.new + self.entries) * columns
        return pulled + through + (3 * self.height * columns**2 if self.many else 0.0)

    def pay(self, pricer: Pricer, sites: float, at_once: float) -> None:
        """At so many sites, of which some are done by one operation."""
        work = TRAINING * sites * self.flops
        pricer.flops += work
        pricer.exponentials += TRAINING * sites * FACTORISATION + work / SLOWER
        pricer.holds(DOUBLE * sites * self.kept, DOUBLE * at_once * self.passing)


def pay_seen(pricer: Pricer, variable: Variable, size: float, rows: float, columns: float) -> None:
    """The rows (A | b) of a variable that is seen, of so many entries, with its noise taken out; and the noise's roots."""
    noise = pricer.extent(pricer.axes(variable.general.dist.arguments[1][1]))
    pricer.flops += TRAINING * (rows * size * columns + noise * size**3)
    pricer.holds(DOUBLE * rows * columns)
    pricer.holds(DOUBLE * noise * 3.0 * size**2)
