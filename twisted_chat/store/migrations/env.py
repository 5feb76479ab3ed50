"""Runs the migrations for Alembic, on the connection that C{migrate.upgrade} has passed on."""

from alembic import context

from twisted_chat.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
