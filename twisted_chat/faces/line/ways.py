"""The line face's words for the ways out of a refusal."""

from collections.abc import Mapping

from twisted_chat.core.errors import Refusal, Way

_WAYS: Mapping[Way, str] = {
    "be-somebody-else": "{text}; /quit first to log in as somebody else",
    "change-name": "{text}; /nick NAME changes your name",
    "end-session": "{text}; /quit ends the session",
    "fewer-messages": "/history shows 1 to {limit} messages",
    "join-first": "{text}; /join {room} first",
    "list-people": "{text}; /users lists who is here",
    "list-rooms": "{text}; /rooms lists them",
    "log-in": "{text}: type a name, or /help",
    "register": "{text}; /register to have a history",
    "set-password": "{text}; /register NAME PASSWORD sets one",
    "write-privately": "{text}; /dm NAME MESSAGE is private",
}
"""Way out -> the whole sentence, with C{text} and the fields of the refusal."""


def sentence(refusal: Refusal) -> str:
    """Give the sentence that is shown for a refusal: what was wrong, and what to type."""
    if refusal.way is None:
        return refusal.text
    return _WAYS[refusal.way].format(text=refusal.text, **refusal.fields)
