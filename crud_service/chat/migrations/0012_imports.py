"""An index of the applications that are being imported, of which there are hardly ever any.

Until it is complete, such an application has a token that begins with a tilde
(`crud_service.transfer.unfinished`).
"""

from django.db import migrations

# An interrupted attempt leaves an invalid index behind.
DROP = "DROP INDEX CONCURRENTLY IF EXISTS applications_hidden_idx"
CREATE = """
CREATE INDEX CONCURRENTLY applications_hidden_idx ON applications (id)
WHERE access_token LIKE '~%'
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0011_rate_limits"),)
    operations = (
        migrations.RunSQL(DROP, migrations.RunSQL.noop),
        migrations.RunSQL(CREATE, DROP),
    )
