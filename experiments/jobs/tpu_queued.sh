#!/usr/bin/env bash
# Trains on a Cloud TPU slice that a queued resource brings, and asks for another one when a spot slice is taken away.
#
#   PROJECT=me SHARED=10.0.0.2:/share experiments/jobs/tpu_queued.sh images --data /shared/photos --out /shared/runs/photos
#
# What follows the script's name is handed to `python -m experiments run`, the same on every worker of the slice; JAX finds the others.
# SHARED is an NFS share (Filestore) that holds the repository in gendiff/ with its environment .venv, the data and the runs: the workers
# keep nothing. Leave this script running, in tmux or on a small machine: it waits, and deletes the slice at the end.

set -u
PROJECT=${PROJECT:?give the project, such as PROJECT=me}
SHARED=${SHARED:?give the NFS share, such as SHARED=10.0.0.2:/share}
ZONE=${ZONE:-us-west4-a}
NAME=${NAME:-gendiff}
ACCELERATOR=${ACCELERATOR:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SPOT=${SPOT---spot} # SPOT= asks for a slice that nobody takes away
MAX_SLICES=${MAX_SLICES:-20}
POLL=${POLL:-30} # seconds between two looks at the state

tpu() { gcloud compute tpus "$@" --project "$PROJECT" --zone "$ZONE" --quiet; }
state() { tpu queued-resources describe "$NAME" --format='value(state.state)'; }
delete() { tpu queued-resources delete "$NAME" --force; }

mount="sudo mkdir -p /shared && { mountpoint -q /shared || sudo mount -t nfs $SHARED /shared; }"
run="cd /shared/gendiff && experiments/jobs/restart.sh .venv/bin/python -u -m experiments run $(printf '%q ' "$@")"

wait_until_active() {
  while true; do
    case "$(state)" in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDING | SUSPENDED) return 1 ;;
      *) sleep "$POLL" ;;
    esac
  done
}

for ((slice = 1; slice <= MAX_SLICES; slice++)); do
  tpu queued-resources create "$NAME" --node-id "$NAME" --accelerator-type "$ACCELERATOR" --runtime-version "$RUNTIME" \
    ${SPOT:+"$SPOT"} || exit 1
  code=1
  if wait_until_active; then
    tpu tpu-vm ssh "$NAME" --worker=all --command="$mount && $run"
    code=$?
  fi
  ended=$(state)
  delete
  # where the slice is still there, the run has ended by itself
  if [ "$code" -eq 0 ] || [ "$ended" = ACTIVE ]; then exit "$code"; fi
  echo "slice $slice is gone ($ended): the run goes on with another one"
done
exit 42
