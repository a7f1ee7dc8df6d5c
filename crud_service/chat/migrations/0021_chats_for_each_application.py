"""Tell the planner that an application has many chats, whatever a sample of the table says.

Two indexes begin with the application: that of the numbers and that of the activity. Where most
applications have a chat or two, the planner took them for equally good to find a chat by its number,
and read all chats of an application for each chat of a batch. With the setting there is an application
for each thousand rows: it is believed to have a thousand chats, or all of them where there are fewer.
"""

from django.db import migrations

SET = "ALTER TABLE chats ALTER COLUMN application_id SET (n_distinct = -0.001)"
RESET = "ALTER TABLE chats ALTER COLUMN application_id RESET (n_distinct)"
# It takes effect at the next ANALYZE.
COUNT = "ANALYZE chats (application_id)"


class Migration(migrations.Migration):
    dependencies = (("chat", "0020_blocks_by_grams"),)
    operations = (migrations.RunSQL([SET, COUNT], [RESET, COUNT]),)
