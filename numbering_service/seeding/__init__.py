"""Seeding: finds a missing sequence's highest number and writes it, so that none is repeated.

A number of a sequence is in one of three places: in the backlog (the stream of
accepted entries), in PostgreSQL (stored, set aside or in conflict), or first in
the one and then in the other. The order in which they are read is what makes
seeding safe; each step needs the one before.

1. Take the sequence's lock, with a token that was never used before, and see in
   the same script that the sequence is missing. It stays missing until step 5:
   numbers.lua moves only sequences that exist, and a seeder needs the lock. Who
   starts the sequence of something new without it (numbers.lua the messages of a
   chat, crud_service the chats of an application) deletes the lock, and step 5
   then writes nothing. So no number of this sequence is handed out, and no entry
   of it accepted, from here on. "unknown" may be written in between: it is no
   number, and expires within a second.
2. Note the fence: the stream's `last-generated-id`. Every entry of the sequence
   has an id up to it. Ids only grow, whatever the clock does.
3. Read the backlog up to the fence. An entry up to the fence is in the stream
   when its page is read, and counted, or it has left the stream by then. Only
   the persister removes entries, and only after PostgreSQL has committed them.
4. Ask crud_service for the highest number in PostgreSQL. Whatever step 3 did not
   find was committed before this question. The other order would miss an entry
   that moves from the stream to the table between the two readings.
5. Write the larger one, if the lock is still ours and the sequence is still
   missing, and give the lock back. A lock that was lost means starting over.

A chat exists if crud_service knows it, or if its creation or one of its messages
is in the backlog, where a creation counts as message number 0. An application
exists only if crud_service says so: it is stored before its token is answered.

**Without crud_service** the backlog alone is enough for a sequence of which it
holds an entry: it then holds all later ones too (`backlog` says why), what
PostgreSQL has are these entries or older ones, and the numbers of a sequence grow
with the ids of its entries. An older copy of Redis would break the last of these;
for its sake the table is asked whenever it can be.

`backlog` reads the stream once for all who wait, `lock` holds the lock,
`lookup` asks crud_service, `places` shares what there is between applications.
"""

from numbering_service.seeding.seed import MAX_CRUD_CONNECTIONS, Seeding, not_seeded_in_time

__all__ = ["MAX_CRUD_CONNECTIONS", "Seeding", "not_seeded_in_time"]
