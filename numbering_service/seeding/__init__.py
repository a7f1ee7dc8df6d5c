"""Seeding: finds a missing sequence's highest number and writes it, so that none is repeated.

A number of a sequence is in the backlog (the stream of accepted entries), in
PostgreSQL (stored, set aside or in conflict), or on its way from the first to the
second. The order in which they are read makes seeding safe; each step relies on
the one before.

1. Take the sequence's lock with a fresh token, and check in the same script that
   the sequence is missing. It stays missing until step 5: numbers.lua advances
   only existing sequences, and a seeder needs the lock. Two writers start a new
   sequence without it (numbers.lua for the messages of a new chat, crud_service
   for the chats of a new application): they delete the lock, and step 5 then
   writes nothing. So from here on no number of this sequence is handed out, and
   no entry of it accepted. "unknown" may be written in between: it is not a
   number, and expires within a second.
2. Record the fence: the stream's `last-generated-id`. Every entry of the sequence
   has an id up to it, and ids only grow, whatever the clock does.
3. Read the backlog up to the fence. Each of these entries is either in the stream
   when its page is read, and is counted, or has left the stream by then. Only the
   persister removes entries, and only after PostgreSQL has committed them.
4. Ask crud_service for the highest number in PostgreSQL. Every entry that step 3
   did not find was committed before this query. In the opposite order, an entry
   that moves from the stream to the table between the two reads would be missed.
5. Write the larger number, if the lock is still ours and the sequence still
   missing, and release the lock. Start over if the lock was lost.

A chat exists if crud_service knows it, or if its creation or one of its messages
is in the backlog, where a creation counts as message number 0. An application
exists only if crud_service says so: it is stored before its token is answered.

**Without crud_service** the backlog alone is enough for a sequence of which it
holds an entry: it then also holds all later ones (see `backlog`), PostgreSQL holds
only these entries or older ones, and the numbers of a sequence grow with the ids
of its entries. A Redis restored from an older copy would break the last point,
so PostgreSQL is consulted whenever that is possible.

`backlog` reads the stream once for all waiting seedings, `lock` holds the lock,
`lookup` queries crud_service, `places` shares capacity between applications.
"""

from numbering_service.seeding.seed import MAX_CRUD_CONNECTIONS, Seeding, not_seeded_in_time

__all__ = ["MAX_CRUD_CONNECTIONS", "Seeding", "not_seeded_in_time"]
