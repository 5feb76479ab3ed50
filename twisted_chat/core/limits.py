"""Every limit of the server, with its default."""

from dataclasses import dataclass, field


def _limit(default: int, help: str) -> int:
    value: int = field(default=default, metadata={"help": help})
    return value


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server. Each field is an option of C{twistd chat}, with the field's name
    and help."""

    max_connections: int = _limit(
        0, "Connections at once; 0: as many as the open-file limit allows."
    )
    max_per_address: int = _limit(50, "Connections at once from one address; 0: no limit.")
    connections_per_minute: int = _limit(
        30, "New connections per minute from one address; 0: no limit."
    )
    max_waiting: int = _limit(
        100,
        "Connections that have not logged in yet; beyond that the oldest is closed. 0: no limit.",
    )
    login_timeout: int = _limit(
        60, "Seconds to log in after connecting or typing a line; 0: no limit."
    )
    wrong_passwords: int = _limit(5, "Wrong passwords before an address has to wait.")
    max_penalty: int = _limit(600, "Longest wait after a wrong password, in seconds; 0: no wait.")
    max_login_delay: int = _limit(
        1, "Longest delay of a login because of others' wrong passwords, in seconds."
    )
    registrations_per_address: int = _limit(
        20, "Names registered per hour from one address; 0: no limit."
    )
    registrations: int = _limit(200, "Names registered per hour by everyone; 0: no limit.")
    line_burst: int = _limit(20, "Lines that a session may send at once.")
    line_rate: int = _limit(5, "Lines per second that a session may send after that; 0: no limit.")
    rooms_per_address: int = _limit(20, "Rooms made per hour from one address; 0: no limit.")
    max_names: int = _limit(20, "Names that one guest may use, one after another.")
    max_message: int = _limit(4096, "Characters in a message.")
    max_rooms: int = _limit(1000, "Rooms on the server.")
    max_joined: int = _limit(50, "Rooms that one person may be in.")
    max_topic: int = _limit(300, "Characters in a topic.")
    max_history: int = _limit(1000, "Messages that one request for history may ask for.")
    replay: int = _limit(20, "Messages that are shown on joining a room.")
    max_in_flight: int = _limit(
        500, "Messages of a session on their way to the disk; then reading pauses."
    )
    outbox: int = _limit(
        1024 * 1024, "Bytes that may wait for a slow reader; lines beyond that are skipped."
    )
    stuck_after: int = _limit(60, "Seconds before a reader that takes nothing is disconnected.")
    min_password: int = _limit(8, "Fewest characters in a new password.")
    password_cost: int = _limit(12, "bcrypt cost of a new password, 4 to 31.")
    password_queue: int = _limit(64, "Passwords that may wait to be checked.")
    keepalive: int = _limit(60, "Seconds between keepalives, which people do not see; 0: none.")
    history_days: int = _limit(0, "Days that messages are kept; 0: forever.")
