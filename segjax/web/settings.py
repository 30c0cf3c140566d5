"""What a person chooses on the page."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from segjax.errors import SegjaxError
from segjax.live.backgrounds import BLURS, Background, Picture
from segjax.web.pictures import Pictures, chequerboard

EFFECTS = (*BLURS, "picture", "color", "transparent")

Person = Literal["all", "largest", "central"]
"""Who is shown of several, as `segjax.matting` has it."""

PERSONS = get_args(Person)


@dataclass(frozen=True)
class Settings:
    """What a person chose.

    effect: blur or bokeh of `strength` in (0, 1], the picture with the id `picture`, a `color` as
      #rrggbb, or transparent, which is shown as a chequerboard.
    softness: of the person's edges, in [0, 1], with every effect.
    model: a name, or "" for the usual one.
    person: who of several is shown.
    """

    effect: str = "blur"
    strength: float = 0.5
    softness: float = 0.5
    picture: str = ""
    color: str = "#00b140"
    model: str = ""
    person: Person = "all"
    paused: bool = False

    @property
    def behind(self) -> tuple[str, str]:
        """The effect, with its picture's id or its colour."""
        return self.effect, {"picture": self.picture, "color": self.color}.get(self.effect, "")

    def changed(self, values: object) -> "Settings":
        """These with some of them replaced by what a page sent.

        Raises:
          SegjaxError: that is not a choice.
        """
        names = {field.name: type(field.default) for field in dataclasses.fields(self)}
        if not isinstance(values, dict) or not values.keys() <= names.keys():
            raise SegjaxError(f"got settings {_short(values)}; known are {', '.join(names)}")
        for name, value in values.items():
            if type(value) is not names[name] and (names[name], type(value)) != (float, int):
                raise SegjaxError(f"got {name} {_short(value)}; it is a {names[name].__name__}")
        new = dataclasses.replace(self, **values)
        if new.effect not in EFFECTS:
            raise SegjaxError(f"got effect {_short(new.effect)}; known are {', '.join(EFFECTS)}")
        if not 0 < new.strength <= 1:
            raise SegjaxError(f"got strength {new.strength}; it is above 0 and at most 1")
        if not 0 <= new.softness <= 1:
            raise SegjaxError(f"got softness {new.softness}; it is at least 0 and at most 1")
        if new.person not in PERSONS:
            raise SegjaxError(f"got person {_short(new.person)}; known are {', '.join(PERSONS)}")
        if not re.fullmatch("#[0-9a-fA-F]{6}", new.color):
            raise SegjaxError(f"got color {_short(new.color)}; it is # and six hexadecimal digits")
        return new


def make_background(effect: str, choice: str, pictures: Pictures) -> Background:
    """What an effect composes over; `choice` is its picture's id or its colour.

    Raises:
      SegjaxError: that picture is no longer there.
    """
    if effect in BLURS:
        return BLURS[effect]()
    if effect == "picture":
        return pictures.background(choice)
    if effect == "color":
        return Picture(np.full((16, 16, 3), tuple(bytes.fromhex(choice[1:])), np.uint8))
    return Picture(chequerboard())


def _short(value: Any) -> str:
    return repr(value)[:40]
