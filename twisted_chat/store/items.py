"""What a commit carries out besides posts and announcements."""

from typing import NamedTuple


class Mark(NamedTuple):
    """An account has seen a room up to an entry."""

    account_id: int
    room_id: int
    seq: int


class LetGo(NamedTuple):
    """The node gives up its claim on the name that has this skeleton."""

    skeleton: str
