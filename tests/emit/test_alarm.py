"""The ALARM network (Beinlich et al. 1989), 37 findings and causes: what is asked of it, against an elimination in NumPy.

The graph and the numbers of values are the published ones; the tables are drawn. The elimination multiplies tables and adds up, one
latent at a time, the one that is met with the fewest values first: it shares nothing with the compiler's.
"""

from math import prod

import numpy as np
import pytest
import torch

import lvspec

ALARM = """\
lvfailure 2; history 2: lvfailure; hypovolemia 2; lvedvolume 3: hypovolemia lvfailure; cvp 3: lvedvolume; pcwp 3: lvedvolume
strokevolume 3: hypovolemia lvfailure; errlowoutput 2; errcauter 2; insuffanesth 2; anaphylaxis 2; tpr 3: anaphylaxis
kinkedtube 2; disconnect 2; minvolset 3; ventmach 4: minvolset; venttube 4: disconnect ventmach; intubation 3
ventlung 4: intubation kinkedtube venttube; press 4: intubation kinkedtube venttube; ventalv 4: intubation ventlung
minvol 4: intubation ventlung; fio2 2; pvsat 3: fio2 ventalv; pulmembolus 2; pap 3: pulmembolus; shunt 2: intubation pulmembolus
sao2 3: pvsat shunt; artco2 3: ventalv; expco2 4: artco2 ventlung; catechol 2: artco2 insuffanesth sao2 tpr; hr 3: catechol
hrbp 3: errlowoutput hr; hrekg 3: errcauter hr; hrsat 3: errcauter hr; co 3: hr strokevolume; bp 3: co tpr
"""
NODES = [n.split() for n in ALARM.replace("\n", ";").replace(":", "").split(";") if n]
PARENTS = {name: parents for name, _, *parents in NODES}
VALUES = {name: int(values) for name, values, *_ in NODES}
FINDINGS = [n for n in PARENTS if not any(n in above for above in PARENTS.values())]  # what nothing else reads


def spec_text() -> str:
    lines = ["lvspec: 1", "name: alarm", "params:"]
    lines += [f"  p_{n}: {[VALUES[a] for a in (*above, n)]}" for n, above in PARENTS.items()]
    for role, findings in (("latent", False), ("observed", True)):
        lines.append(f"{role}:")
        for name, above in ((n, a) for n, a in PARENTS.items() if (n in FINDINGS) == findings):
            at = f"[{', '.join(above)}]" if above else ""
            lines.append(f"  {name}: Categorical(logits=p_{name}{at})")
    return "\n".join(lines) + "\n"


def probability(tables: dict[str, np.ndarray], known: dict[str, int]) -> float:
    """p(known) = Σ over the other nodes of Π of the tables p(node | parents)."""
    factors = []
    for name, above in PARENTS.items():
        axes = (*above, name)
        table = tables[name][tuple(known.get(a, slice(None)) for a in axes)]
        factors.append(([a for a in axes if a not in known], table))
    left = [n for n in PARENTS if n not in known]
    while left:
        near = {n: {a for axes, _ in factors if n in axes for a in axes} for n in left}
        name = min(left, key=lambda n: prod(VALUES[a] for a in near[n]))
        axes = sorted(near[name] - {name})
        number = {a: i for i, a in enumerate([*axes, name])}
        terms = [x for own, table in factors if name in own for x in (table, [number[a] for a in own])]
        rest = [f for f in factors if name not in f[0]]
        factors = [*rest, (axes, np.einsum(*terms, [number[a] for a in axes], optimize=True))]
        left.remove(name)
    return float(np.prod([table for _, table in factors]))


@pytest.fixture(scope="module")
def ward():
    """(model, tables by node, three patients: findings, the first two with a cause that is known)."""
    torch.manual_seed(0)
    model = lvspec.compile_spec(spec_text()).Model().double()
    tables = {n: getattr(model, f"p_{n}").softmax(-1).detach().numpy() for n in PARENTS}
    return model, tables, {n: torch.randint(VALUES[n], (3,)) for n in FINDINGS}


def row(batch: dict[str, torch.Tensor], i: int) -> dict[str, int]:
    return {n: int(v[i]) for n, v in batch.items()}


def test_the_network_is_alarm():
    assert (len(PARENTS), sum(map(len, PARENTS.values())), len(FINDINGS)) == (37, 46, 11)
    assert sum((VALUES[n] - 1) * prod(VALUES[a] for a in above) for n, above in PARENTS.items()) == 509


def test_log_p_of_findings_is_that_of_an_elimination(ward):
    model, tables, batch = ward
    expected = [np.log(probability(tables, row(batch, i))) for i in range(3)]
    assert model.log_prob(batch).tolist() == pytest.approx(expected, abs=1e-10)


def test_posterior_of_every_cause_is_a_ratio_of_two_eliminations(ward):
    model, tables, batch = ward
    found = model.posterior(batch)
    patient = row(batch, 1)
    for name in (n for n in PARENTS if n not in FINDINGS):
        joint = [probability(tables, patient | {name: k}) for k in range(VALUES[name])]
        expected = np.array(joint) / probability(tables, patient)
        assert found[name].marginals[1].tolist() == pytest.approx(expected, abs=1e-10)


def test_a_cause_that_is_known_is_evidence_like_a_finding(ward):
    model, tables, batch = ward
    known = batch | {"kinkedtube": torch.tensor([1, 0, 1]), "hr": torch.tensor([2, 1, 0])}
    expected = [np.log(probability(tables, row(known, i))) for i in range(3)]
    assert model.log_prob(known).tolist() == pytest.approx(expected, abs=1e-10)


def test_a_finding_that_is_missing_is_summed(ward):
    model, tables, batch = ward
    seen = batch | {"bp_observed": torch.tensor([True, False, False])}
    expected = [
        np.log(probability(tables, {n: k for n, k in row(batch, i).items() if n != "bp" or not i})) for i in range(3)
    ]
    assert model.log_prob(seen).tolist() == pytest.approx(expected, abs=1e-10)
