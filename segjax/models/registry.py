"""Names of networks' parts, and where they stand."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


class Registry:
    """Variants by name. A family is a module, imported when one of its variants is asked for.

    So the list of names costs nothing, however many there are. A family's module holds
    `VARIANTS`, a table from the same names to constructors.
    """

    def __init__(self, kind: str, package: str, families: Mapping[str, tuple[str, ...]]):
        self.kind, self.package = kind, package
        self.families = dict(families)
        self._homes = {name: family for family, names in families.items() for name in names}

    @property
    def names(self) -> tuple[str, ...]:
        """Of all variants, in alphabetical order."""
        return tuple(sorted(self._homes))

    def family(self, name: str) -> str:
        """The module that a name is in; none ("") if it is not registered."""
        return self._homes.get(name, "")

    def kin(self, one: str, other: str) -> bool:
        """Whether two names are of one family."""
        return self._homes.get(one) == self._homes.get(other)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """The constructor of a variant.

        Raises:
          ValueError: the name is not registered; the message lists those that are.
        """
        if name not in self._homes:
            raise ValueError(f"{self.kind}: got {name!r}; known are {', '.join(self.names)}")
        module = importlib.import_module(f"{self.package}.{self._homes[name]}")
        return module.VARIANTS[name]
