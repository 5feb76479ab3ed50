"""L{Commit}: a batch, as PostgreSQL's C{chat_append} takes it, and what came of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from twisted_chat.core.announcements import Delivered, encode
from twisted_chat.core.labels import SHORTEST
from twisted_chat.core.model import CREATED, MEMBER, Aside, Entry, Post, Standing
from twisted_chat.core.names import skeleton

from .engine import Item
from .items import LetGo, Mark

FUNCTION = "chat_append_1"

SCRIPT = Path(__file__).with_name("append.sql")
"""Makes the function."""

_PARAMETERS = 26

CALL = f"SELECT * FROM {FUNCTION}({', '.join(['%s'] * _PARAMETERS)})"


class Answer(NamedTuple):
    """What the function returns; see there."""

    base: int
    landed: Sequence[int | None] | None
    doubled: Sequence[int] | None
    originals: Sequence[int] | None
    heads: Sequence[int] | None
    seqs: Sequence[int] | None
    times: Sequence[int] | None


class Commit:
    """A batch. Each post and each announcement has a place in it, from 1 on, and gets the id that
    is so far after the end of the log.

    @ivar places: how many there are.
    """

    def __init__(self, items: Sequence[Item], numbers: Sequence[int]) -> None:
        """@param numbers: those of the posts among the items, L{Post} and L{Aside}."""
        self._posts: list[tuple[int, int, Post]] = []  # number, place
        self._asides: list[tuple[int, int, Aside]] = []
        self._marks: list[tuple[int, int, int, int]] = []
        self._news: list[tuple[int, str, str]] = []
        self._let_go: list[str] = []
        self._makes: list[Mapping[str, object]] = []
        self._stands: list[Mapping[str, object]] = []
        number = iter(numbers)
        place = 0
        for item in items:
            if isinstance(item, Mark):
                self._marks.append((place, *item))
            elif isinstance(item, LetGo):
                self._let_go.append(item.skeleton)
            else:
                place += 1
                if isinstance(item, Post):
                    self._posts.append((next(number), place, item))
                    self._note(len(self._posts), item)
                else:
                    if isinstance(item, Aside):
                        self._asides.append((next(number), place, item))
                    self._news.append((place, *encode(item)))
        self.places = place

    def _note(self, n: int, post: Post) -> None:
        """Note what a post changes besides the log.

        @param n: its place among the posts.
        """
        room = post.room
        if not room.id:
            first, second = [account.id for account in room.parties] or (None, None)
            name = room.name or None
            owner = post.author_id if post.kind == CREATED else None
            shape = name and skeleton(name)
            self._makes.append(
                {"n": n, "kind": room.kind, "name": name, "skeleton": shape}
                | {"first": first, "second": second, "owner": owner}
            )
        if post.kind == MEMBER:
            standing = Standing.decode(post.text)
            joins = standing.is_joining(post.author_id)
            self._stands.append(
                {"n": n, "account": standing.account.id, "role": standing.role, "joins": joins}
            )

    def parameters(self, *numbers: int) -> Sequence[object]:
        """Return the parameters of L{CALL}.

        @param numbers: node, epoch, timeline, batch, seen; see C{append.sql}.
        """
        at, rooms, kinds, ids, authors, times, texts, abouts, labels = _columns(
            9,
            (
                (place, post.room.id, *post[1:7], post.label or None)
                for _, place, post in self._posts
            ),
        )
        mark_at, accounts, mark_rooms, seqs = _columns(4, self._marks)
        news_at, news_kinds, bodies = _columns(3, self._news)
        given = (
            *map(str, (*numbers, self.places)),
            any(len(post.label) >= SHORTEST for _, _, post in self._posts),
            *map(_numbers, (at, rooms)),
            _texts(kinds),
            _numbers(ids),
            _texts(authors),
            _numbers(times),
            _texts(texts),
            _numbers(abouts),
            _texts(labels),
            json.dumps(self._makes) if self._makes else None,
            json.dumps(self._stands) if self._stands else None,
            *map(_numbers, (mark_at, accounts, mark_rooms, seqs)),
            _numbers(news_at),
            _texts(news_kinds),
            _texts(bodies),
            _texts(self._let_go),
        )
        assert len(given) == _PARAMETERS
        return given

    def pair(
        self, answer: Answer, others: Sequence[tuple[int, Delivered]]
    ) -> list[tuple[int, Delivered]]:
        """Give what is to be handed over after the commit, in the order of the log.

        @param others: what others have stored between the cursor and the commit, with its ids.
        """
        originals: dict[int, int] = {}
        if answer.doubled and answer.originals:
            originals = {
                id: self._posts[n - 1][0]
                for n, id in zip(answer.doubled, answer.originals, strict=True)
            }
        pairs = [(originals.get(id, 0), what) for id, what in others]
        own: list[tuple[int, int, Delivered]] = [
            (place, number, aside) for number, place, aside in self._asides
        ]
        newest = dict(
            zip(
                answer.heads or (),
                zip(answer.seqs or (), answer.times or (), strict=True),
                strict=True,
            )
        )
        doubled = set(answer.doubled or ())
        base, landed = answer.base, answer.landed
        for n, (number, place, post) in enumerate(self._posts):
            room, kind, author_id, author, time, text, about, label = post
            if landed is not None:
                id = landed[n]
                if id is None:
                    if n + 1 not in doubled:
                        own.append((place, number, None))
                    continue
                if not room.id:
                    room = replace(room, id=id)
            seq, before = newest[room.id]
            seq, time = newest[room.id] = seq + 1, max(time, before + 1)
            id = base + place
            entry = Entry(id, room, seq, kind, author_id, author, time, text, about, label)
            own.append((place, number, entry))
        if self._asides:
            own.sort(key=lambda one: one[0])
        pairs.extend((number, what) for _, number, what in own)
        return pairs

    def recover(
        self, base: int, said: Sequence[tuple[int, Delivered]]
    ) -> tuple[list[tuple[int, Delivered]], list[int]]:
        """Give what is to be handed over when it turns out that the commit was kept.

        @param base: the last id before it.
        @param said: what was read, with ids: the commit, and what others have stored before it.
        @return: that; and the numbers of posts that were not stored, as others had stored the same
            before.
        """
        ids: dict[int, int] = {}
        for number, place, _ in (*self._posts, *self._asides):
            ids[base + place] = number
        pairs: list[tuple[int, Delivered]] = []
        for id, what in said:
            number = ids.pop(id, 0)
            if number or not base < id <= base + self.places:  # an announcement of our own
                pairs.append((number, what))
        lost: list[int] = []
        for number, _, post in self._posts:
            if number in ids.values():
                if post.kind == CREATED and not post.label:
                    pairs.append((number, None))
                else:
                    lost.append(number)
        return pairs, lost


def _columns(count: int, rows: Iterable[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    return tuple(zip(*rows, strict=True)) or ((),) * count


# Arrays go to PostgreSQL as text, so that a statement is the same one whatever the numbers' sizes,
# and is prepared once.


def _numbers(values: Sequence[int | None]) -> str | None:
    """Write an array; L{None} if it is empty."""
    if not values:
        return None
    return "{" + ",".join(["NULL" if each is None else str(each) for each in values]) + "}"


_ESCAPES: Mapping[int, str] = str.maketrans({'"': '\\"', "\\": "\\\\"})


def _texts(values: Sequence[str | None]) -> str | None:
    """The same for texts."""
    if not values:
        return None
    quoted = ["NULL" if each is None else f'"{each.translate(_ESCAPES)}"' for each in values]
    return "{" + ",".join(quoted) + "}"
