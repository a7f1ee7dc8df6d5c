"""An exact total of applications that costs nothing to read, however many there are.

Chats and messages have their totals beside their parents; applications have no
parent. One counter row would make every creation wait for the one before it to
commit, so the count is spread over 16 rows by the connection's process id, and
read as their sum.
"""

from django.db import migrations

CREATE = """
CREATE TABLE application_totals (
    slot smallint PRIMARY KEY,
    total bigint NOT NULL
) WITH (fillfactor = 50);  -- room for updates in place: the table stays one page

LOCK TABLE applications IN SHARE MODE;
INSERT INTO application_totals
SELECT slot, CASE slot WHEN 0 THEN (SELECT count(*) FROM applications) ELSE 0 END
FROM generate_series(0, 15) AS slot;

CREATE FUNCTION count_applications() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE application_totals SET total = 0;
    ELSE
        UPDATE application_totals
        SET total = total
            + (SELECT count(*) FROM changed) * CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
        WHERE slot = pg_backend_pid() % 16;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER applications_inserted AFTER INSERT ON applications
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_applications();
CREATE TRIGGER applications_deleted AFTER DELETE ON applications
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_applications();
CREATE TRIGGER applications_truncated AFTER TRUNCATE ON applications
    FOR EACH STATEMENT EXECUTE FUNCTION count_applications();
"""

DROP = """
DROP TRIGGER applications_inserted ON applications;
DROP TRIGGER applications_deleted ON applications;
DROP TRIGGER applications_truncated ON applications;
DROP FUNCTION count_applications();
DROP TABLE application_totals;
"""


class Migration(migrations.Migration):
    dependencies = (("chat", "0001_tables"),)
    operations = (migrations.RunSQL(CREATE, DROP),)
