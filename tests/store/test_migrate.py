"""The schema that migrations make."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, text
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.store import DatabaseTooNew, migrate
from twisted_chat.store.migrate import HEAD, SCRIPTS, upgrade
from twisted_chat.store.schema import metadata
from twisted_chat.store.sqlite import _configure


class MigrateTests(SynchronousTestCase):
    """Upgrading a fresh file, on a connection like the store's."""

    def setUp(self) -> None:
        engine = create_engine(f"sqlite:///{self.mktemp()}")
        event.listen(engine, "connect", lambda driver, record: _configure(driver))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self.connection = engine.connect()
        self.addCleanup(engine.dispose)
        self.addCleanup(self.connection.close)

    def upgrade(self) -> None:
        """Upgrade in a transaction."""
        with self.connection.begin():
            upgrade(self.connection)

    def dump(self) -> list[str]:
        """The whole of the database, as SQL."""
        driver = self.connection.connection.driver_connection
        assert driver is not None
        return list(driver.iterdump())

    def tables(self) -> dict[str, list[str]]:
        """How each table and index was made; constraints may stand in any order."""
        rows = self.connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql != ''"))
        return {name: sorted(sql.replace(",", " ").split()) for name, sql in rows}

    def test_migrations_make_the_schema(self) -> None:
        """Alembic finds no difference to the tables that the store uses."""
        self.upgrade()
        context = MigrationContext.configure(self.connection, opts={"compare_type": True})
        self.assertEqual(compare_metadata(context, metadata), [])

    def test_migrations_make_the_same_tables_as_the_schema(self) -> None:
        """Defaults and the names of constraints, which Alembic does not compare, are equal too."""
        self.upgrade()
        migrated = self.tables()
        del migrated["alembic_version"]
        metadata.drop_all(self.connection)
        metadata.create_all(self.connection)
        made = self.tables()
        del made["alembic_version"]
        self.assertEqual(migrated, made)

    def test_newest_migration_is_known(self) -> None:
        """The number in the program, which saves asking Alembic, is that of the last script."""
        self.assertEqual(ScriptDirectory(str(SCRIPTS)).get_heads(), [HEAD])

    def test_upgrading_twice_changes_nothing(self) -> None:
        """The database is up to date after the first time."""
        self.upgrade()
        before = self.dump()
        self.upgrade()
        self.assertEqual(self.dump(), before)

    def test_newer_database_is_refused(self) -> None:
        """The database of a newer version is refused with a sentence, and left as it is."""
        self.upgrade()
        with self.connection.begin():
            self.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        before = self.dump()
        error = self.assertRaises(DatabaseTooNew, self.upgrade)
        self.assertIn("9999", str(error))
        self.assertIn("install a newer twisted-chat", str(error))
        self.assertEqual(self.dump(), before)

    def test_upgrade_is_done_wholly_or_not_at_all(self) -> None:
        """An upgrade that is rolled back leaves nothing behind."""
        transaction = self.connection.begin()
        upgrade(self.connection)
        transaction.rollback()
        self.assertEqual(inspect(self.connection).get_table_names(), [])

    def test_messages_of_the_first_schema_are_kept(self) -> None:
        """An upgrade from the first schema keeps all messages, and the log goes on."""
        self.patch(migrate, "HEAD", "0001")
        self.upgrade()
        with self.connection.begin():
            for statement in (
                "INSERT INTO accounts VALUES (1, 'alice', 'alice', x'00', 5, 0)",
                "INSERT INTO messages VALUES (1, 1, 1, 'alice', 5, 'hello', 0)",
                "INSERT INTO direct_messages VALUES (2, 1, 1, 6, 'psst')",
                "UPDATE log_head SET last_id = 2",
            ):
                self.connection.execute(text(statement))
        before = [line for line in self.dump() if line.startswith("INSERT")]
        self.patch(migrate, "HEAD", HEAD)
        self.upgrade()
        expected = {
            "INSERT INTO \"alembic_version\" VALUES('0001');": (
                f"INSERT INTO \"alembic_version\" VALUES('{HEAD}');"
            ),
            'INSERT INTO "log_head" VALUES(1,2);': 'INSERT INTO "log_head" VALUES(1,2,0);',
            **{line: line.replace(");", ",NULL);") for line in before if "messages" in line},
        }
        self.assertEqual(
            [line for line in self.dump() if line.startswith("INSERT")],
            [expected.get(line, line) for line in before],
        )

    def upgrade_to(self, version: str) -> None:
        """Upgrade as the program of that version did."""
        self.patch(migrate, "HEAD", version)
        self.upgrade()
        self.patch(migrate, "HEAD", HEAD)

    def fill(self, table: str, rows: dict[str, str]) -> None:
        """Rows with these names and skeletons."""
        what = "accounts (password_hash, " if table == "accounts" else "rooms ("
        values = "(x'00', " if table == "accounts" else "("
        with self.connection.begin():
            for name, skeleton in rows.items():
                self.connection.execute(
                    text(f"INSERT INTO {what}name, skeleton, created) VALUES {values}:n, :s, 0)"),
                    {"n": name, "s": skeleton},
                )

    def skeletons(self, table: str) -> dict[str, str]:
        """The names in a table, and their skeletons."""
        rows = self.connection.execute(text(f"SELECT name, skeleton FROM {table} ORDER BY id"))
        return {row.name: row.skeleton for row in rows}

    def test_look_alikes_are_recomputed(self) -> None:
        """An upgrade computes all skeletons anew, also if two rows swap theirs; a name that looks
        like an older one stays, and is logged once."""
        self.upgrade_to("0001")
        self.fill("accounts", {"alice": "bob", "bob": "alice", "carol": "carol"})
        self.fill("accounts", {"ca\uab81ol": "cayol", "d\xe5n": "da\u030an"})
        self.fill("rooms", {"se\uab81ver": "seyver", "server": "server"})
        with capturedLogs() as logged:
            self.upgrade()
            self.upgrade()
        self.assertEqual(
            self.skeletons("accounts"),
            {
                **{"alice": "alice", "bob": "bob", "carol": "carol"},
                **{"ca\uab81ol": "carol 4", "d\xe5n": "da\u0307n"},
            },
        )
        self.assertEqual(
            self.skeletons("rooms"),
            {"lobby": "lobby", "se\uab81ver": "server", "server": "server 3"},
        )
        self.assertEqual(
            [formatEvent(entry) for entry in logged if "looks like" in formatEvent(entry)],
            [
                "accounts: ca\uab81ol looks like carol, which is older; both are kept",
                "rooms: server looks like se\uab81ver, which is older; both are kept",
            ],
        )
        self.connection.rollback()

    def test_nothing_that_was_kept_is_lost(self) -> None:
        """After an upgrade accounts have their ids and passwords, and the log its references."""
        self.upgrade_to("0001")
        self.fill("accounts", {"alice": "alice", "ca\uab81ol": "cayol"})
        with self.connection.begin():
            self.connection.execute(text("INSERT INTO direct_messages VALUES (1, 1, 2, 5, 'hi')"))
        self.upgrade()
        told = self.connection.execute(
            text(
                "SELECT name, password_hash, text FROM direct_messages"
                " JOIN accounts ON accounts.id = recipient_id"
            )
        )
        self.assertEqual([tuple(row) for row in told], [("ca\uab81ol", b"\x00", "hi")])
        self.connection.rollback()
