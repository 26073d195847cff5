#!/bin/sh
# Keep the event that comes in on stdin, as a file of its own: run twice, it is there once.
set -eu

folder="${SHOP_STATE:-$(dirname "$0")/shop-state}/audit"
mkdir -p "$folder"
cat > "$folder/$EVENTCTL_ID.$$"
mv "$folder/$EVENTCTL_ID.$$" "$folder/$EVENTCTL_ID.json"
