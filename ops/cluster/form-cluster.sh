#!/bin/sh
# Makes a cluster of valkey-1 to valkey-6 in docker-compose.cluster.yml, or has those of an earlier start find
# each other at the addresses that they have now. Whatever was done before is left as it is.
set -eu
primaries=3
node() { asked=$1; shift; valkey-cli -h "valkey-$asked" cluster "$@"; }
address() { getent hosts "valkey-$1" | cut -d' ' -f1; }
known() { node 1 nodes | grep @ | grep -c -v handshake; }
follows() { node "$1" replicate "$(node "$2" myid)" | grep -q OK; }
is_formed() {
    # Repeated every five seconds: a handshake without an answer expires after the node timeout.
    if [ $((tries % 10)) = 0 ]; then
        for other in 2 3 4 5 6; do node 1 meet "$(address $other)" 6379 > /dev/null; done
    fi
    [ "$(known)" = 6 ] && node 1 info | grep -q cluster_state:ok
}
wait_until() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries = 120 ]; then echo "not within a minute: $*" >&2; exit 1; fi
        sleep 0.5
    done
}

for number in 1 2 3; do
    # Refused where a server has them already.
    first=$(((number - 1) * 16384 / primaries)) last=$((number * 16384 / primaries - 1))
    node "$number" addslotsrange $first $last > /dev/null
done
wait_until is_formed
for number in 4 5 6; do
    # Ends in its flags, then its primary: a primary without slots follows nobody.
    if node "$number" nodes | tr -d '\r' | grep -q 'myself,master - [0-9 ]* connected$'; then
        wait_until follows "$number" $((number - primaries))
    fi
done
