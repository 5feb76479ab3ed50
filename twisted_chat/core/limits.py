"""Every limit of the server, with its default."""

from dataclasses import dataclass, field


def _limit(default: int, help: str) -> int:
    value: int = field(default=default, metadata={"help": help})
    return value


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server. Each is an option of C{twistd chat}, with the name and the help of
    the field."""

    max_connections: int = _limit(
        0, "Connections at once; 0: what the open-file limit allows, less a reserve."
    )
    max_per_address: int = _limit(50, "Connections at once from one address; 0: no limit.")
    connections_per_minute: int = _limit(
        30, "New connections a minute from one address; 0: no limit."
    )
    max_waiting: int = _limit(
        100, "Connections that are not logged in; one more closes the oldest. 0: no limit."
    )
    login_timeout: int = _limit(
        60, "Seconds to log in after connecting, or after the last line typed; 0: no limit."
    )
    wrong_passwords: int = _limit(
        5, "Wrong passwords that an address may try before it has to wait."
    )
    max_penalty: int = _limit(
        600, "Seconds that an address waits after a wrong password, at most; 0: it never waits."
    )
    max_login_delay: int = _limit(
        1, "Seconds that the wrong passwords of others delay a login, at most."
    )
    registrations_per_address: int = _limit(
        20, "Names registered an hour from one address; 0: no limit."
    )
    registrations: int = _limit(200, "Names registered an hour by all; 0: no limit.")
    line_burst: int = _limit(20, "Lines of one session that are carried out at once.")
    line_rate: int = _limit(
        5, "Lines of one session that are carried out a second after that; 0: no limit."
    )
    rooms_per_address: int = _limit(20, "Rooms made an hour from one address; 0: no limit.")
    max_names: int = _limit(20, "Names that one guest may have, one after the other.")
    max_message: int = _limit(4096, "Characters in a message.")
    max_rooms: int = _limit(1000, "Rooms that may exist.")
    max_joined: int = _limit(50, "Rooms that one session may be in.")
    max_topic: int = _limit(300, "Characters in a topic.")
    max_history: int = _limit(1000, "Messages that one request for history may ask for.")
    replay: int = _limit(20, "Messages of a room that are shown on joining it.")
    max_in_flight: int = _limit(
        500, "Messages of one session on their way to the disk; with more it is not read from."
    )
    outbox: int = _limit(
        1024 * 1024, "Bytes that may wait for a slow reader; lines beyond that are skipped."
    )
    stuck_after: int = _limit(
        60, "Seconds after which a reader that takes nothing of what waits is disconnected."
    )
    min_password: int = _limit(8, "Characters in a new password, at least.")
    password_cost: int = _limit(12, "bcrypt cost of a new password, 4 to 31.")
    password_queue: int = _limit(64, "Passwords that may wait to be checked.")
    keepalive: int = _limit(
        60,
        "Seconds between signs of life to programs and telnet, which people do not see; 0: none.",
    )
    history_days: int = _limit(0, "Days that messages are kept; 0: forever.")
