"""Names: their one spelling, and what they look like."""

import unicodedata

from confusable_homoglyphs.confusables import confusables_data
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal

# Letters and digits of many scripts, marks, and what has a meaning elsewhere on a line.
_TRICKY = (
    "aZ09.-_ß\u0130\u0131\u017fςσΩ\u212aａＡ０\u0430\u0406"
    "\u0301\u0323\u0345é가\u1100\u1161\u0905\u094d\u0e01\u05d0\u0660"
)
_character = st.one_of(st.sampled_from(_TRICKY), st.characters(categories=["L", "M", "N"]))
_name = st.text(_character, min_size=1, max_size=6)
_anything = st.text(st.one_of(_character, st.characters(exclude_categories=[])), max_size=8)


def accepted(raw: str) -> str | None:
    """The name's spelling, or None if it is refused as a name."""
    try:
        return names.canonical(raw)
    except Refusal as refusal:
        if refusal.code != "bad-name":
            raise
        return None


class CanonicalTests(SynchronousTestCase):
    """One spelling for each name, and no spelling for what is none."""

    def test_plain_names_stay(self) -> None:
        """Letters, digits and . _ - behind the first letter or digit are a name as they are."""
        for name in ("alice", "bob-2", "a.b_c", "7of9", "x", "é", "алиса", "花子", "अमर"):
            self.assertEqual(names.canonical(name), name)

    def test_case_is_folded(self) -> None:
        """Upper case and lower case are one name."""
        self.assertEqual(names.canonical("AliCE"), "alice")
        self.assertEqual(names.canonical("ÉMILE"), "émile")

    def test_full_width_is_mapped(self) -> None:
        """Full-width letters and digits become plain ones."""
        self.assertEqual(names.canonical("Ａｌｉｃｅ９"), "alice9")

    def test_spelling_is_nfc(self) -> None:
        """A letter and its combining accent become the one character."""
        self.assertEqual(names.canonical("e\u0301mile"), "émile")

    def test_empty_is_refused(self) -> None:
        """Nothing is no name."""
        self.assertIsNone(accepted(""))

    def test_punctuation_in_front_is_refused(self) -> None:
        """A name begins with a letter or digit, so that no command takes it for an option."""
        for raw in ("-rf", ".hidden", "_x", "-", ".", "_", "\u0301a"):
            self.assertIsNone(accepted(raw), ascii(raw))

    def test_punctuation_with_a_meaning_is_refused(self) -> None:
        """What a line of text or a command gives a meaning to is not in names."""
        for mark in "@/:#!\"'<>,;*&$%()[]{}\\|`~^+=?":
            for raw in (f"{mark}alice", f"al{mark}ice", f"alice{mark}"):
                self.assertIsNone(accepted(raw), raw)

    def test_spaces_are_refused(self) -> None:
        """No kind of space is in a name, nor around it."""
        for space in " \t\n\r\u00a0\u2003\u3000\u2028":
            for raw in (f"{space}alice", f"al{space}ice", f"alice{space}"):
                self.assertIsNone(accepted(raw), ascii(raw))

    def test_invisible_characters_are_refused(self) -> None:
        """Controls, overrides, joiners and what else cannot be seen are not in names."""
        for hidden in "\x00\x07\x1b\x7f\x85\u00ad\u200b\u200c\u200d\u200e\u202e\u2066\u2060\ufeff":
            for raw in (f"{hidden}alice", f"al{hidden}ice", f"alice{hidden}"):
                self.assertIsNone(accepted(raw), ascii(raw))

    def test_symbols_are_refused(self) -> None:
        """Emoji, ligatures and box drawing are no letters."""
        for raw in ("😀", "alice😀", "ﬁona", "a█", "①", "a™"):
            self.assertIsNone(accepted(raw), raw)

    def test_lone_surrogates_are_refused(self) -> None:
        """Half a character is not in a name."""
        self.assertIsNone(accepted("a\ud800"))

    def test_longest_name(self) -> None:
        """A name may have MAX_LENGTH characters and not one more."""
        longest = "x" * names.MAX_LENGTH
        self.assertEqual(names.canonical(longest), longest)
        self.assertIsNone(accepted(longest + "x"))

    def test_length_counts_after_mapping(self) -> None:
        """MAX_LENGTH accented letters fit, even if each was sent as two characters."""
        longest = "e\u0301" * names.MAX_LENGTH
        self.assertEqual(names.canonical(longest), "é" * names.MAX_LENGTH)
        self.assertIsNone(accepted(longest + "x"))

    def test_too_long_says_so(self) -> None:
        """A name that is far too long is refused for its length, not for its characters."""
        for raw in ("x" * 33, "x" * 100_000):
            refusal = self.assertRaises(Refusal, names.canonical, raw)
            self.assertEqual(refusal.code, "bad-name")
            self.assertIn(str(names.MAX_LENGTH), refusal.text)

    def test_stacked_marks_are_refused(self) -> None:
        """Two marks on a letter are a script's; three are drawn over the neighbours' lines."""
        self.assertIsNotNone(accepted("q\u0323\u0301"))
        self.assertIsNone(accepted("q\u0323\u0301\u0302"))
        self.assertIsNone(accepted("z" + "\u0300\u0316\u0334" * 8))

    def test_marks_are_counted_for_each_letter(self) -> None:
        """Two marks on each of several letters are fine."""
        self.assertIsNotNone(accepted("q\u0323\u0301x\u0323\u0301"))

    @given(_anything)
    def test_spelling_is_its_own_spelling(self, raw: str) -> None:
        """Whatever is sent, it is refused with bad-name or its spelling spells itself."""
        name = accepted(raw)
        if name is not None:
            self.assertEqual(accepted(name), name)

    @given(_anything)
    def test_spelling_is_harmless(self, raw: str) -> None:
        """A spelling is short and NFC, and has nothing but letters, marks, digits and . _ - ."""
        name = accepted(raw)
        if name is None:
            return
        self.assertTrue(1 <= len(name) <= names.MAX_LENGTH)
        self.assertTrue(unicodedata.is_normalized("NFC", name))
        self.assertNotIn(name[0], "._-")
        for character in name:
            self.assertTrue(character in "._-" or unicodedata.category(character)[0] in "LMN")


class ChosenTests(SynchronousTestCase):
    """Names that people may go by."""

    def test_free_name_is_given_its_spelling(self) -> None:
        """A name that is not reserved comes back as canonical() spells it."""
        self.assertEqual(names.chosen("ＡＬＩＣＥ"), "alice")

    def test_reserved_names_are_refused(self) -> None:
        """The server's own words and the command words are nobody's name."""
        for raw in ("admin", "server", "root", "everyone", "you", "PM", "dm", "Ex", "exit", "IRC"):
            self.assertEqual(names.canonical(raw), raw.lower())
            self.assertEqual(self.assertRaises(Refusal, names.chosen, raw).code, "bad-name")

    def test_services_of_irc_are_refused(self) -> None:
        """People send these their passwords, by habit."""
        for raw in ("NickServ", "chanserv", "memoserv", "operserv", "botserv", "hostserv"):
            self.assertEqual(self.assertRaises(Refusal, names.chosen, raw).code, "bad-name")
        for raw in ("saslserv", "authserv", "global", "services", "system", "n\u0456ckserv"):
            self.assertEqual(self.assertRaises(Refusal, names.chosen, raw).code, "bad-name")

    def test_look_alikes_of_reserved_names_are_refused(self) -> None:
        """What can be mistaken for a reserved name is reserved too."""
        for raw in ("r00t", "\u0430dmin", "adrnin", "a11", "se\uab81ver"):
            self.assertEqual(self.assertRaises(Refusal, names.chosen, raw).code, "bad-name")

    def test_guest_names_are_refused(self) -> None:
        """Names that begin with guest, or seem to, are the server's to give."""
        for raw in ("guest", "Guest42", "guest-of-honour", "gu\u0435st7"):
            self.assertIsNotNone(accepted(raw))
            refusal = self.assertRaises(Refusal, names.chosen, raw)
            self.assertEqual(refusal.code, "bad-name")
            self.assertIn(names.GUEST, refusal.text)

    def test_guest_further_back_is_free(self) -> None:
        """Only the beginning of a name makes it a guest's."""
        self.assertEqual(names.chosen("no-guest"), "no-guest")

    def test_bad_name_is_refused(self) -> None:
        """What canonical() refuses, nobody can choose."""
        self.assertEqual(self.assertRaises(Refusal, names.chosen, "a b").code, "bad-name")


class RoomTests(SynchronousTestCase):
    """Names of rooms."""

    def test_leading_hash_is_dropped(self) -> None:
        """#Tea and tea are one room."""
        self.assertEqual(names.room("#Tea"), "tea")
        self.assertEqual(names.room("tea"), "tea")

    def test_only_one_hash_is_dropped(self) -> None:
        """A second hash is not part of any name."""
        for raw in ("##tea", "#", "te#a"):
            self.assertEqual(self.assertRaises(Refusal, names.room, raw).code, "bad-name")


class SkeletonTests(SynchronousTestCase):
    """What a name looks like."""

    def alike(self, one: str, other: str) -> bool:
        """Whether two names can be mistaken for each other."""
        return names.skeleton(one) == names.skeleton(other)

    def test_letters_of_another_script_look_alike(self) -> None:
        """A Cyrillic a is a name of its own but looks like a Latin one."""
        cyrillic = names.canonical("\u0430lice")
        self.assertNotEqual(cyrillic, "alice")
        self.assertTrue(self.alike(cyrillic, "alice"))

    def test_digits_look_like_letters(self) -> None:
        """0 is taken for o, and 1 for l."""
        self.assertTrue(self.alike("b0b", "bob"))
        self.assertTrue(self.alike("a1ice", "alice"))

    def test_pair_looks_like_one_letter(self) -> None:
        """rn is taken for m."""
        self.assertTrue(self.alike("rnary", "mary"))

    def test_every_pair_of_the_list(self) -> None:
        """Two characters that Unicode's list of look-alikes names together look alike in names.

        Not if one of them is in no name: capitals and wide letters, which a name spells small and
        narrow. That a capital looks like another says nothing about the small letters.
        """
        held = differ = 0
        for one, others in confusables_data.items():
            for other in (str(entry["c"]).replace("\u200e", "") for entry in others):
                # Within a name, as marks cannot begin one.
                pair = [accepted(f"x{characters}x") for characters in (one, other)]
                if None in pair or pair[0] == pair[1]:
                    continue
                if pair == [f"x{one}x", f"x{other}x"]:
                    self.assertTrue(self.alike(f"x{one}x", f"x{other}x"), ascii(pair))
                    held += 1
                else:
                    differ += not self.alike(str(pair[0]), str(pair[1]))
        self.assertGreater(held, 1700)
        self.assertLess(differ, 300)

    def test_small_letters_that_look_like_others_than_their_capitals(self) -> None:
        """Cherokee's small letters came after its capitals, and case is folded to these."""
        self.assertTrue(self.alike("ca\uab81ol", "carol"))
        self.assertTrue(self.alike("se\uab81ver", "server"))
        self.assertFalse(self.alike("ca\uab81ol", "cayol"))
        self.assertTrue(self.alike("\uab9e2", "42"))  # its capital is on the list, and it is not

    def test_case_does_not_matter(self) -> None:
        """A name looks the same in capitals."""
        self.assertTrue(self.alike("ALICE", "alice"))

    def test_plain_letters_differ(self) -> None:
        """No two letters and digits of ASCII look alike but 0 and o, 1 and l."""
        plain = "abcdefghijklmnopqrstuvwxyz23456789.-_"
        self.assertEqual(len({names.skeleton(character) for character in plain}), len(plain))

    def test_different_names_differ(self) -> None:
        """Names that nobody confuses have skeletons of their own."""
        for one, other in (("alice", "alicia"), ("bob", "bop"), ("jose", "josé"), ("n", "ñ")):
            self.assertFalse(self.alike(one, other), (one, other))

    def test_accent_counts_the_same_in_either_form(self) -> None:
        """An accented letter looks the same composed or in two characters."""
        self.assertTrue(self.alike("jose\u0301", "josé"))

    @given(_name)
    def test_skeleton_is_its_own_skeleton(self, name: str) -> None:
        """What a name looks like, looks like itself."""
        shape = names.skeleton(name)
        self.assertEqual(names.skeleton(shape), shape)

    @given(_name, _name)
    def test_skeleton_is_read_piece_by_piece(self, one: str, other: str) -> None:
        """Names that look alike still do with the same name before or behind them."""
        shape = names.skeleton(one)
        self.assertTrue(self.alike(f"{other}-{one}", f"{other}-{shape}"))
        self.assertTrue(self.alike(f"{one}-{other}", f"{shape}-{other}"))


_typed = st.text(st.sampled_from("abc"), max_size=6)


class NearestTests(SynchronousTestCase):
    """The name that was probably meant."""

    def test_misspelling_finds_the_name(self) -> None:
        """Letters swapped, missing or doubled still lead to the name."""
        people = ["alice", "bob", "carol"]
        for typed, meant in (("bbo", "bob"), ("alcie", "alice"), ("carrol", "carol")):
            self.assertEqual(names.nearest(typed, people), meant)

    @given(_typed, _typed)
    def test_only_one_slip_is_forgiven(self, one: str, other: str) -> None:
        """A letter too many, too few or another, or two neighbours swapped; and nothing else."""
        letters = "abc"
        slips = {one[:i] + one[i + 1 :] for i in range(len(one))}
        slips |= {one[:i] + x + one[i:] for i in range(len(one) + 1) for x in letters}
        slips |= {one[:i] + x + one[i + 1 :] for i in range(len(one)) for x in letters}
        slips |= {one[:i] + one[i + 1] + one[i] + one[i + 2 :] for i in range(len(one) - 1)}
        for meant in (other, *slips):
            expected = meant if meant in slips and len(one) > 1 else None
            self.assertEqual(names.nearest(one, [meant]), expected)

    def test_two_slips_find_nobody(self) -> None:
        """What was meant could be something else altogether."""
        people = ["alice", "robert", "carla"]
        for typed in ("alcei", "trebor", "crala2", "aliceia", "ro"):
            self.assertIsNone(names.nearest(typed, people), typed)

    def test_same_one_is_named_each_time(self) -> None:
        """Of several, one that begins alike; and wherever they stand."""
        people = ["dob", "boo", "bbb", "rob", "bop"]
        for _ in people:
            people.append(people.pop(0))
            self.assertEqual(names.nearest("bob", people), "bbb")

    def test_crowd_does_not_hide_the_name(self) -> None:
        """However much like it the others are."""
        crowd = [f"alis{number:02}" for number in range(100)]
        crowd += [f"x{number:04}" for number in range(800)]
        self.assertEqual(names.nearest("alise", [*crowd, "alice"]), "alice")

    def test_stranger_finds_nobody(self) -> None:
        """What is like no name gets none suggested."""
        self.assertIsNone(names.nearest("zzz", ["alice", "bob"]))
        self.assertIsNone(names.nearest("bob", []))
        self.assertIsNone(names.nearest("", ["alice"]))
        self.assertIsNone(names.nearest("a", ["b", "ab", ""]))

    def test_looks_at_a_bounded_number(self) -> None:
        """However many names there are, a typing error costs little."""
        crowd = iter([f"x{number:04}" for number in range(10_000)])
        names.nearest("alice", crowd)
        self.assertEqual(len(list(crowd)), 9_000)
