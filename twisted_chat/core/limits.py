"""Every number that limits someone, with its default."""

from dataclasses import dataclass, field


def _limit(default: int, help: str) -> int:
    value: int = field(default=default, metadata={"help": help})
    return value


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server. Each is an option of C{twistd chat}.

    The name and the help of the option are those of the field.
    """

    max_connections: int = _limit(
        0, "Connections at once; 0: what the open-file limit allows, less a reserve."
    )
    max_per_address: int = _limit(
        50, "Connections at once from one address; loopback is free of it. 0: no limit."
    )
    max_rooms: int = _limit(1000, "Rooms that may exist.")
    max_joined: int = _limit(50, "Rooms that one session may be in.")
    max_topic: int = _limit(300, "Characters in a topic.")
    max_history: int = _limit(1000, "Messages that one /history may ask for.")
    replay: int = _limit(20, "Messages of a room that are shown on joining it.")
    max_in_flight: int = _limit(
        500, "Messages of one session on their way to the disk before it is read from again."
    )
    outbox: int = _limit(
        1024 * 1024, "Bytes that may wait for a slow reader before lines are skipped."
    )
    stuck_after: int = _limit(
        60, "Seconds in which a reader with a waiting outbox takes nothing before it is cut off."
    )
    min_password: int = _limit(8, "Characters in a new password, at least.")
    password_cost: int = _limit(12, "bcrypt cost of a new password, 4 to 31.")
    password_queue: int = _limit(64, "Passwords that may wait for being checked.")
    history_days: int = _limit(0, "Days that messages are kept; 0: for ever.")
