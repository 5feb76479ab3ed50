"""The words for the ways out of a refusal."""

from string import Formatter

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.errors import WAYS, Refusal
from twisted_chat.faces.line.ways import _WAYS, sentence
from twisted_chat.protocol.commands import COMMANDS


class WayTests(SynchronousTestCase):
    """What is shown for a refusal."""

    def test_every_way_has_words(self) -> None:
        """Every way out has words, and there are words for no others."""
        self.assertEqual(set(_WAYS), WAYS)

    def test_commands_in_the_words_are_there(self) -> None:
        """The words of each way out name a command that can be typed."""
        words = {f"/{command.word}" for command in COMMANDS}
        for way, template in _WAYS.items():
            named = {word.strip(",;") for word in template.split() if word.startswith("/")}
            self.assertEqual(named - words, set(), way)
            self.assertTrue(named, way)

    def test_words_use_the_text_and_fields_of_a_refusal(self) -> None:
        """The words use the text and the fields of a refusal, and nothing else."""
        for template in _WAYS.values():
            fields = {name for _, name, _, _ in Formatter().parse(template) if name}
            self.assertLessEqual(fields, {"text", "room", "name", "nearest", "limit"})

    def test_no_way(self) -> None:
        """A refusal without a way out shows its text, whatever characters are in it."""
        self.assertEqual(
            sentence(Refusal("bad-name", "no {such} name", name="x")), "no {such} name"
        )

    def test_way(self) -> None:
        """The text of a refusal stands in the sentence as it is."""
        refusal = Refusal("no-such-room", 'there is no room "{x}"', "list-rooms", name="{x}")
        self.assertEqual(sentence(refusal), 'there is no room "{x}"; /rooms lists them')
        refusal = Refusal("not-in-room", "you are not in #tea", "join-first", room="tea")
        self.assertEqual(sentence(refusal), "you are not in #tea; /join tea first")
