#!/bin/sh
# Sweeps without cron, as the main process of a container. SIGTERM ends it, after the running handlers.
eventctl="${EVENTCTL:-eventctl}"

trap 'ended=yes; kill -TERM "$sweep" 2>/dev/null' TERM INT
while [ -z "${ended:-}" ]; do
    "$eventctl" sweep --for 55s &
    sweep=$!
    wait "$sweep" || code=$?
    # A signal ends the wait before the sweep has ended.
    while kill -0 "$sweep" 2>/dev/null; do wait "$sweep" || code=$?; done
    case ${code:=0} in
        0 | 1 | 130 | 143) ;;
        *) [ -n "${ended:-}" ] || sleep 5 ;; # no store, or a mistake in events.toml: not at full speed
    esac
    code=0
done
