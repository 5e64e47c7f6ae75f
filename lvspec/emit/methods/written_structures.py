"""log p of structures by their definition, as Python: every structure one by one. For `compile --self-check`."""

from __future__ import annotations

PCFG = '''
class PCFG:
    """log p(words): the sum over all derivations, one by one."""

    def __init__(self, root: torch.Tensor, rules: torch.Tensor, terminals: torch.Tensor):
        self.root, self.word = root.log_softmax(-1), terminals.log_softmax(-1)
        self.rule = rules.flatten(1).log_softmax(-1).view_as(rules)  # of all pairs of children

    def derivations(self, a: int, words: list) -> list:
        """log p of each derivation of the words from symbol a; symbols behind the nonterminals yield one word."""
        nonterminals, symbols, _ = self.rule.shape
        if a >= nonterminals:
            return [self.word[a - nonterminals, words[0]]] if len(words) == 1 else []
        return [
            self.rule[a, b, c] + left + right
            for k in range(1, len(words))
            for b in range(symbols)
            for c in range(symbols)
            for left in self.derivations(b, words[:k])
            for right in self.derivations(c, words[k:])
        ]

    def log_prob(self, words: torch.Tensor) -> torch.Tensor:
        words = words.long().tolist()
        every = [self.root[a] + d for a in range(len(self.root)) for d in self.derivations(a, words)]
        return torch.stack(every).logsumexp(0)
'''

WRITTEN: dict[str, list[str]] = {
    "PCFG": [*(f"    {line}".rstrip() for line in PCFG.strip("\n").split("\n")), ""],
}
