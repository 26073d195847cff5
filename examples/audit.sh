#!/bin/sh
# Write the event on stdin to a file named by its id: running twice leaves one file.
set -eu

folder="${SHOP_STATE:-$(dirname "$0")/shop-state}/audit"
mkdir -p "$folder"
cat > "$folder/$EVENTCTL_ID.$$"
mv "$folder/$EVENTCTL_ID.$$" "$folder/$EVENTCTL_ID.json"
