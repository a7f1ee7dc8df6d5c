#!/bin/sh
# The entrypoint of the standby in docker-compose.cluster.yml: copies the primary once, then starts as the image does.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA.unfinished"
    mkdir -p "$(dirname "$PGDATA")"
    PGAPPNAME=standby pg_basebackup --host=postgres --username=postgres --pgdata="$PGDATA.unfinished" \
        --checkpoint=fast --write-recovery-conf
    mv "$PGDATA.unfinished" "$PGDATA"
fi
# Not what the copy says: its password may be a former one. The present one is in PGPASSWORD.
exec docker-entrypoint.sh "$@" -c "primary_conninfo=host=postgres user=postgres application_name=standby"
