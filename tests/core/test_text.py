"""Text: read, edited, and made safe to show."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core import text as text_module
from twisted_chat.core.errors import Refusal
from twisted_chat.core.text import clean, decode, unindented, unquoted

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Embeddings, overrides and isolates (UAX #9)."""

_TRICKY = (
    f"/{BIDI} \t\x00\x08\n\r\x1b\x7f\x85\x9b\u00ad\u200b\u200d\u200e\u2028\u2029\ufeff\ud800"
    "\u0301\u0323\u0345\u0488é한\u1100\u1161😀"
)
_text = st.text(st.one_of(st.sampled_from(_TRICKY), st.characters(exclude_categories=[])))
_typed = st.text(st.sampled_from("abé😀 \x08\x7f\x15"))


def cleaned(text: str) -> str | None:
    """The text made safe, or None if it is refused for how it is encoded."""
    try:
        return clean(text)
    except Refusal as refusal:
        if refusal.code != "bad-encoding":
            raise
        return None


class DecodeTests(SynchronousTestCase):
    """Bytes become the line that was typed."""

    def test_utf8_is_read(self) -> None:
        """A line is UTF-8."""
        self.assertEqual(decode("héllo 😀".encode()), "héllo 😀")

    def test_other_encodings_are_refused(self) -> None:
        """Latin-1, half a character, overlong forms and surrogates are not UTF-8."""
        for line in (
            b"h\xe9llo",
            b"\xff",
            b"hi \xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf5\x80\x80\x80",
        ):
            refusal = self.assertRaises(Refusal, decode, line)
            self.assertEqual(refusal.code, "bad-encoding")
            self.assertIn("UTF-8", refusal.text)

    def test_backspace_erases(self) -> None:
        """Backspace and delete take back the character before them."""
        self.assertEqual(decode(b"helo\x7flo"), "hello")
        self.assertEqual(decode(b"helo\x08lo"), "hello")
        self.assertEqual(decode(b"abc\x08\x08\x7fx"), "x")

    def test_backspace_erases_a_whole_character(self) -> None:
        """A character of several bytes goes in one."""
        self.assertEqual(decode("né\x7fe".encode()), "ne")
        self.assertEqual(decode("😀\x08x".encode()), "x")

    def test_backspace_at_the_beginning_does_nothing(self) -> None:
        """There is nothing to erase before the first character."""
        self.assertEqual(decode(b"\x7f\x08hi"), "hi")

    def test_ctrl_u_erases_the_line(self) -> None:
        """Ctrl-U takes back everything before it and nothing behind."""
        self.assertEqual(decode(b"wrong\x15right"), "right")
        self.assertEqual(decode(b"wrong\x15"), "")

    def test_other_controls_are_left_for_clean_to_see(self) -> None:
        """Decoding only edits; what else is there stays."""
        self.assertEqual(decode(b"\x9b\x07\x00".replace(b"\x9b", b"\xc2\x9b")), "\x9b\x07\x00")

    def test_escape_sequences_go(self) -> None:
        """Arrow and function keys, pastes in brackets, colours, titles and links leave the text
        that is around them."""
        for sequence in (
            b"\x1b[A",
            b"\x1b[1;5C",
            b"\x1bOA",
            b"\x1b[15~",
            b"\x1b[[A",
            b"\x1b\x1b[A",
            b"\x1b[200~",
            b"\x1b[0;31m",
            b"\x1b]0;a title\x07",
            b"\x1b]8;;http://example.org/\x1b\\",
            b"\x1bP1$r\x1b\\",
            b"\x1b(B",
            b"\x1bb",
        ):
            self.assertEqual(decode(b"he" + sequence + b"llo"), "hello", sequence)
            self.assertEqual(decode(sequence + "é".encode()), "é", sequence)

    def test_escape_sequences_go_before_the_line_is_edited(self) -> None:
        """Backspace takes back what was typed before an arrow key, not a part of the key."""
        self.assertEqual(decode(b"hat\x1b[D\x7fllo"), "hallo")

    def test_incomplete_escape_sequences_are_left_for_clean_to_see(self) -> None:
        """What their end would be cannot be known."""
        for line in (b"\x1b", b"hi\x1b[", b"\x1b[1;", b"\x1b]0;no end", b"\x1b\xc3\xa9"):
            self.assertEqual(decode(line), line.decode())

    def test_no_escape_sequence_takes_a_slash_with_it(self) -> None:
        """The rest of a command, with its password, must not be said."""
        for begun in (
            "\x1b",
            "\x1b\x1b",
            "\x1b[",
            "\x1b[1;",
            "\x1b[ ",
            "\x1bO",
            "\x1b(",
            "\x1b]0;",
        ):
            for command in ("/login alice s3cret", "!login alice s3cret"):
                self.assertIsNone(cleaned(decode(f"{begun}{command}".encode())), begun)

    def test_ctrl_l_goes(self) -> None:
        """Who wants the screen drawn again has not typed a character."""
        self.assertEqual(decode(b"\x0che\x0cllo"), "hello")
        self.assertEqual(decode(b"\x0c"), "")

    @given(st.binary())
    def test_any_bytes_are_text_or_refused(self, line: bytes) -> None:
        """No bytes raise anything but bad-encoding."""
        try:
            decode(line).encode()
        except Refusal as refusal:
            self.assertEqual(refusal.code, "bad-encoding")

    @given(st.text(st.sampled_from("\x1b\x07[]OP?;0mA\\ (\x7f\x9bé")))
    def test_nothing_of_an_escape_sequence_can_be_said(self, line: str) -> None:
        """Whatever is left of it has no control character, or is refused."""
        try:
            said = clean(decode(line.encode()))
        except Refusal:
            return
        self.assertFalse(set(said) & set("\x1b\x07\x9b\x7f"))

    @given(_typed)
    def test_editing_leaves_no_editing_keys(self, typed: str) -> None:
        """After editing there is no editing key left, and nothing that was not typed."""
        edited = decode(typed.encode())
        self.assertFalse(set(edited) & set("\x08\x7f\x15"))
        self.assertTrue(set(edited) <= set(typed))
        self.assertLessEqual(len(edited), len(typed))

    @given(_typed, st.text(st.sampled_from("abé😀"), max_size=5))
    def test_backspaces_take_back_what_was_typed(self, typed: str, mistake: str) -> None:
        """Something typed and erased again is as if it had never been."""
        erased = f"{typed}{mistake}" + "\x7f" * len(mistake)
        self.assertEqual(decode(erased.encode()), decode(typed.encode()))


class CleanTests(SynchronousTestCase):
    """Text that is safe on anyone's screen."""

    def test_ordinary_text_stays(self) -> None:
        """Text in any script stays as it was written."""
        for text in ("hi", "naïve café", "привет", "你好", "مرحبا", "हिन्दी", "tab-free", "~!@#$%"):
            self.assertEqual(clean(text), text)

    def test_spaces_at_the_end_go(self) -> None:
        """Spaces behind a text are dropped; those before it indent pasted code."""
        self.assertEqual(clean("  a  b  "), "  a  b")
        self.assertEqual(clean("  é  b  "), "  é  b")

    def test_nothing_stays_nothing(self) -> None:
        """Spaces and invisible characters alone are an empty text."""
        for text in ("", "   ", "\t", "\u200b\ufeff", " \u2066 \u2069 ", "\u3000", "\u200d"):
            self.assertEqual(clean(text), "", ascii(text))

    def test_text_is_composed(self) -> None:
        """A letter and its accent become one character."""
        self.assertEqual(clean("cafe\u0301"), "café")

    def test_text_is_composed_after_invisible_ones_go(self) -> None:
        """An invisible character does not keep a letter and its accent apart."""
        self.assertEqual(clean("cafe\u200b\u0301"), "café")

    def test_separators_become_spaces(self) -> None:
        """A tab and Unicode's own line ends become spaces: a text is one line."""
        for separator in "\u2028\u2029":
            self.assertEqual(clean(f"a{separator}b"), "a b")
        self.assertEqual(clean("\tif x:"), "    if x:")

    def test_controls_are_refused(self) -> None:
        """Every control character but the tab is refused, alone or in other text."""
        for number in (*range(9), *range(10, 0x20), *range(0x7F, 0xA0)):
            for text in (chr(number), f"a{chr(number)}b", f"é{chr(number)}"):
                self.assertIsNone(cleaned(text), ascii(text))

    def test_surrogates_are_refused(self) -> None:
        """Half a character cannot be written to anyone."""
        for text in ("\ud800", "a\udfff", "\udc00é"):
            self.assertIsNone(cleaned(text), ascii(text))

    def test_refusal_names_the_character(self) -> None:
        """Who sent a control character is told which was in the way."""
        self.assertIn("U+001B", self.assertRaises(Refusal, clean, "\x1b[A").text)

    def test_bidirectional_overrides_go(self) -> None:
        """Nothing that reorders what stands around it comes through."""
        for character in BIDI:
            self.assertEqual(clean(f"exe.{character}txt"), "exe.txt")

    def test_invisible_characters_go(self) -> None:
        """Zero-width spaces, soft hyphens, tags and noncharacters are dropped."""
        for (
            character
        ) in "\u00ad\u034f\u180e\u200b\u2060\u2064\u206a\ufeff\ufff9\ufffe\uffff\ufdd0\U000e0041":
            self.assertEqual(clean(f"a{character}b"), "ab", ascii(character))

    def test_joined_emoji_survive(self) -> None:
        """Emoji made of several, with a skin or in colour, stay whole."""
        for text in ("👩\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "👍🏽", "❤\ufe0f", "🇩🇪"):
            self.assertEqual(clean(text), text)

    def test_joiners_and_marks_of_direction_survive(self) -> None:
        """Scripts that need a joiner, a non-joiner or a direction mark keep it."""
        for text in ("می\u200cخواهم", "क्\u200dष", "שלום\u200f!", "a\u200eb"):
            self.assertEqual(clean(text), text)

    def test_stacked_marks_are_thinned(self) -> None:
        """Of a tower of marks on one letter no more than four are left."""
        text = clean("z" + "\u0321\u0322\u0334\u0335\u0336\u0337" * 10 + "!")
        self.assertEqual(len(text), len("z1234!"))
        self.assertTrue(text.startswith("z") and text.endswith("!"))

    def test_joiners_do_not_stack_marks_higher(self) -> None:
        """A joiner or a mark of direction between marks does not begin a letter of its own."""
        for between in "\u200c\u200d\u200e\u200f\u061c":
            text = clean("z" + f"\u0321\u0321\u0321{between}" * 10 + "!")
            self.assertEqual(text.replace(between, ""), "z\u0321\u0321\u0321\u0321!")

    def test_many_marks_are_thinned_before_they_are_put_in_order(self) -> None:
        """A line full of marks is not sorted, which takes time with the square of their number."""
        marks = [chr(number) for number in range(0x300, 0x370)]
        marks.sort(key=unicodedata.combining, reverse=True)
        ordered: list[int] = []

        def normalize(form: str, text: str) -> str:
            ordered.append(len(text))
            return unicodedata.normalize("NFC", text)

        fake = type("unicodedata", (), {"normalize": normalize})
        fake.category = unicodedata.category  # type: ignore[attr-defined]
        self.patch(text_module, "unicodedata", fake)
        clean("a" + "".join(mark * 18 for mark in marks))
        self.assertLess(max(ordered), 10)

    def test_few_marks_stay(self) -> None:
        """What scripts stack on one letter stays."""
        for text in ("q\u0323\u0301x\u0323\u0301", "ש\u05bc\u05b8\u05c1\u0591"):
            self.assertEqual(len(clean(text)), len(text))

    def test_newer_emoji_are_something(self) -> None:
        """A character that this Python has not heard of yet, or a private one, can be said."""
        for text in ("\U0001fae8", "\U0001fadf", "\ue0b0"):
            self.assertEqual(clean(text), text)

    def test_empty_braille_is_nothing(self) -> None:
        """A braille pattern without dots shows nothing."""
        self.assertEqual(clean("\u2800\u2800 \u2800"), "")

    @given(_text)
    def test_any_text_is_safe_or_refused(self, text: str) -> None:
        """Whatever is sent, it is refused or has nothing in it that could do harm."""
        safe = cleaned(text)
        if safe is None:
            return
        self.assertTrue(unicodedata.is_normalized("NFC", safe))
        self.assertFalse({unicodedata.category(character) for character in safe} & {"Cc", "Cs"})
        self.assertFalse(set(safe) & set(BIDI + "\u2028\u2029"))
        self.assertEqual(safe, safe.rstrip(" "))

    @given(_text)
    def test_only_controls_are_refused(self, text: str) -> None:
        """A text without control characters and half characters is never refused."""
        plain = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs"))
        self.assertIsNotNone(cleaned(plain))

    @given(_text)
    def test_safe_text_stays(self, text: str) -> None:
        """Text that was made safe is not changed again."""
        safe = cleaned(text)
        if safe is not None:
            self.assertEqual(clean(safe), safe)


class UnindentedTests(SynchronousTestCase):
    """What can be seen first."""

    def test_indent_goes(self) -> None:
        """Spaces of any kind, and what cannot be seen, go from the beginning and nowhere else."""
        for indent in (
            " ",
            "\t",
            "\u3000",
            "\u00a0",
            "\u200b",
            "\ufeff",
            "\u200f",
            " \ufeff\u2060 ",
        ):
            self.assertEqual(unindented(f"{indent}/a {indent} b"), f"/a {indent} b", ascii(indent))

    def test_the_rest_stays(self) -> None:
        """What can be seen stays, and so does what is refused later."""
        for text in ("", "hi", "\u0301a", "\x1b/a", "/ a", "é "):
            self.assertEqual(unindented(text), text)

    @given(_text)
    def test_what_clean_shows_first_is_first(self, text: str) -> None:
        """Nothing is in front of a command that is not in front of it on a screen."""
        shown = cleaned(text)
        if shown and shown.lstrip().startswith("/"):
            self.assertTrue(unindented(text).startswith("/"), ascii(text))


class UnquotedTests(SynchronousTestCase):
    """One pair of double quotes around a message."""

    def test_one_pair_goes(self) -> None:
        """Quotes around everything are taken off, with what they hold left as it is."""
        for text, bare in (('"hi"', "hi"), ('" hi "', " hi "), ('""', ""), ('"é"', "é")):
            self.assertEqual(unquoted(text), bare)

    def test_other_quotes_stay(self) -> None:
        """Half a pair, several pairs, other quotes and quotes within are the text's own."""
        for text in (
            '"',
            '"hi',
            'hi"',
            'a "b" c',
            '"a" and "b"',
            '"a"b"',
            "'hi'",
            "“hi”",
            "",
            "hi",
            '"""doc"""',
            '""a" "b""',
        ):
            self.assertEqual(unquoted(text), text)

    def test_of_two_pairs_one_goes(self) -> None:
        """So a text can be given that stands in quotes."""
        for text, bare in (('""hi""', '"hi"'), ('""""', '""'), ('"" hi ""', '" hi "')):
            self.assertEqual(unquoted(text), bare)

    @given(st.text(st.characters(exclude_characters='"')))
    def test_quoting_is_undone(self, text: str) -> None:
        """Any text without quotes comes back from between them."""
        self.assertEqual(unquoted(f'"{text}"'), text)
