"""What Alembic runs to migrate: on a connection that `harness.results.migrate` hands over, inside its transaction."""

from alembic import context

from harness.results.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
