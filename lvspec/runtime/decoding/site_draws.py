"""What `sample` says of each variable where sites are methods of their own."""

from __future__ import annotations

from torch import Tensor

__all__ = ["SiteDraws"]


class SiteDraws:
    """The value of a variable that is given, else a draw. places: of variables along the plate, which axis of theirs it is.
    `draws["x"]`: the values of such a one, site by site."""

    def __init__(self, batch: dict, **places: int):
        self.batch, self.places, self.site = batch, places, 0
        self.sites: dict[str, list[Tensor]] = {name: [] for name in places}

    def at(self, site: int) -> SiteDraws:
        self.site = site
        return self

    def __call__(self, name: str, q, lead: tuple[int, ...] = ()) -> Tensor:
        if name not in self.places:
            return self.batch[name] if name in self.batch else q.sample(lead)
        given = self.batch[name].select(self.places[name], self.site) if name in self.batch else None
        self.sites[name].append(q.sample(lead) if given is None else given)
        return self.sites[name][-1]

    def __getitem__(self, name: str) -> list[Tensor]:
        return self.sites[name]
