"""The schema that migrations make."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, text
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
        """What Alembic does not compare, as defaults and the names of constraints, is equal too."""
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
        """With a sentence, and left as it is."""
        self.upgrade()
        with self.connection.begin():
            self.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        before = self.dump()
        error = self.assertRaises(DatabaseTooNew, self.upgrade)
        self.assertIn("9999", str(error))
        self.assertIn("install a newer twisted-chat", str(error))
        self.assertEqual(self.dump(), before)

    def test_upgrade_is_done_wholly_or_not_at_all(self) -> None:
        """One that is rolled back leaves nothing."""
        transaction = self.connection.begin()
        upgrade(self.connection)
        transaction.rollback()
        self.assertEqual(inspect(self.connection).get_table_names(), [])

    def test_messages_of_the_first_schema_are_kept(self) -> None:
        """All of them, and the log goes on where it was."""
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
                "INSERT INTO \"alembic_version\" VALUES('0002');"
            ),
            'INSERT INTO "log_head" VALUES(1,2);': 'INSERT INTO "log_head" VALUES(1,2,0);',
        }
        self.assertEqual(
            [line for line in self.dump() if line.startswith("INSERT")],
            [expected.get(line, line) for line in before],
        )
