"""What Alembic runs: the migrations, on the connection that it was handed."""

from alembic import context

from twisted_chat.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
