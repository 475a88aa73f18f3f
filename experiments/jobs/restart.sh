#!/usr/bin/env bash
# Runs a command again for as long as its exit code asks for that, where no queue does it.
#
#   experiments/jobs/restart.sh .venv/bin/python -u -m experiments run digits
#
# 42: saved, start me again. 128 + N: killed by signal N. All others would end the same way again.
# SIGTERM and SIGINT are handed to the command; after one of them it is not started again.

set -u
MAX_RESTARTS=${MAX_RESTARTS:-100}
PAUSE=${PAUSE:-10} # seconds before the next start: other processes of the same run may still be ending

child="" stopping="" told=""
tell() { kill -TERM "$child" 2>/dev/null && told=$child; }
trap 'stopping=yes; [ -z "$child" ] || tell' TERM INT

for ((restarts = 0; ; restarts++)); do
  "$@" &
  child=$!
  [ -z "$stopping" ] || [ "$told" = "$child" ] || tell # the signal came while the command started
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done # a signal ends `wait` before the command has ended
  wait "$child"
  code=$?
  if ! { [ "$code" -eq 42 ] || [ "$code" -gt 128 ]; } || [ "$restarts" -ge "$MAX_RESTARTS" ]; then
    exit "$code"
  fi
  [ -n "$stopping" ] || { echo "exit code $code: start $((restarts + 2)) in $PAUSE s" && sleep "$PAUSE"; }
  [ -z "$stopping" ] || exit "$code"
done
