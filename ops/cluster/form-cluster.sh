#!/bin/sh
# Makes a cluster of valkey-1 to valkey-6 in docker-compose.cluster.yml, or has those of an earlier start find
# each other at the addresses that they have now. Whatever was done before is left as it is.
set -eu
primaries=3
node() { number=$1; shift; valkey-cli -h "valkey-$number" cluster "$@"; }
address() { getent hosts "valkey-$1" | cut -d' ' -f1; }
is_formed() { node 1 info | tr -d '\r' | grep -qx "$1"; }

for number in 2 3 4 5 6; do
    node 1 meet "$(address "$number")" 6379 > /dev/null
done
for number in 1 2 3; do
    # Refused where a server has them already.
    first=$(((number - 1) * 16384 / primaries)) last=$((number * 16384 / primaries - 1))
    node "$number" addslotsrange $first $last > /dev/null
done
until is_formed cluster_known_nodes:6 && is_formed cluster_state:ok; do sleep 0.5; done
for number in 4 5 6; do
    # Ends in its flags, then who it follows: a primary without slots follows nobody.
    if node "$number" nodes | tr -d '\r' | grep -q 'myself,master - [0-9 ]* connected$'; then
        until node "$number" replicate "$(node $((number - primaries)) myid)" | grep -q OK; do sleep 0.5; done
    fi
done
