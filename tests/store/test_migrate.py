"""The schema that migrations make."""

import sys
from unittest.mock import patch

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, text
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.store import DatabaseTooNew
from twisted_chat.store.migrate import BASE, SCRIPTS, identify, migrate, upgrade
from twisted_chat.store.schema import HEAD, create, metadata
from twisted_chat.store.sqlite import _configure

_ITS_OWN = "alembic_version"


class MigrateTests(SynchronousTestCase):
    """Upgrading a new file, on a connection like the store's."""

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
            current = identify(self.connection)
            upgrade(self.connection, current)

    def migrate(self) -> None:
        """Run all migrations."""
        with self.connection.begin():
            migrate(self.connection, HEAD)

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
        self.migrate()
        # Alembic looks at neither the table of its own in the database nor at what is said of it.
        opts = {"compare_type": True, "include_object": lambda _, name, *__: name != _ITS_OWN}
        context = MigrationContext.configure(self.connection, opts=opts)
        self.assertEqual(compare_metadata(context, metadata), [])

    def test_migrations_make_the_same_tables_as_the_schema(self) -> None:
        """Defaults and the names of constraints, which Alembic does not compare, are equal too."""
        self.migrate()
        migrated = self.tables()
        metadata.drop_all(self.connection)
        create(self.connection)
        self.assertEqual(self.tables(), migrated)

    def test_new_database_has_the_newest_schema(self) -> None:
        """A new database has a lobby, and is not upgraded when it is opened again."""
        self.upgrade()
        before = self.dump()
        self.upgrade()
        self.assertEqual(self.dump(), before)
        self.assertEqual(identify(self.connection), HEAD)

    def test_scripts(self) -> None:
        """The numbers in the program, which save asking Alembic, are those of the first and the
        last script."""
        scripts = ScriptDirectory(str(SCRIPTS))
        self.assertEqual((scripts.get_bases(), scripts.get_heads()), ([BASE], [HEAD]))

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
        for make in create, lambda connection: migrate(connection, HEAD):
            transaction = self.connection.begin()
            make(self.connection)
            transaction.rollback()
            with self.connection.begin():
                self.assertEqual(inspect(self.connection).get_table_names(), [])

    def test_only_upgrades_need_alembic(self) -> None:
        """Neither a new database nor one that is up to date has Alembic imported, which is slow."""
        with patch.dict(sys.modules, {"alembic": None}):
            self.upgrade()
            self.upgrade()
            with self.connection.begin():
                self.assertRaises(ImportError, migrate, self.connection, HEAD)
