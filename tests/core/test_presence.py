"""What is noted of comings and goings."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.presence import Presence, window


class WindowTests(SynchronousTestCase):
    def test_small_rooms_have_none(self) -> None:
        """In a small room everything is told at once."""
        self.assertEqual([window(n) for n in (0, 1, 10)], [0, 0, 0])

    def test_it_grows_with_the_room_to_two_seconds(self) -> None:
        """The window grows with the room, up to two seconds."""
        lengths = [window(n) for n in range(11, 20_000, 50)]
        self.assertEqual(lengths, sorted(lengths))
        self.assertGreater(lengths[0], 0)
        self.assertEqual(lengths[-1], 2)


class PresenceTests(SynchronousTestCase):
    @given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=6))
    def test_who_is_told_adds_up_to_who_is_there(self, windows: list[list[str]]) -> None:
        """A reader of all that is told knows who is in the room, at the end of each window."""
        there: set[str] = set()
        told: set[str] = set()
        presence = Presence()
        for moves in windows:
            for name in moves:
                if name in there:
                    there.remove(name)
                    presence.went(name)
                else:
                    there.add(name)
                    presence.came(name)
            came, went = presence.take()
            self.assertFalse(told & set(came))
            self.assertLessEqual(set(went), told)
            told = (told | set(came)) - set(went)
            self.assertEqual(told, there)
