#!/usr/bin/env bash
# Trains on a GKE cluster that xpk made; xpk writes the JobSet.
#
#   PROJECT=me CLUSTER=pod IMAGE=REGION-docker.pkg.dev/me/gendiff/gendiff:latest STORAGE=shared \
#     experiments/jobs/gke_xpk.sh photos images --data /shared/photos --out /shared/runs/photos
#
# The first word names the workload; what follows it is handed to `python -m experiments run`. xpk starts all hosts again after the exit
# codes 42 and 127 to 255, and after no other. STORAGE is a volume that `xpk storage attach` made known, mounted at /shared.

set -eu
PROJECT=${PROJECT:?give the project}
CLUSTER=${CLUSTER:?give the cluster}
IMAGE=${IMAGE:?give the container image with gendiff}
STORAGE=${STORAGE:?give the storage with data and runs}
ZONE=${ZONE:-us-west4-a}
TPU_TYPE=${TPU_TYPE:-v5litepod-16}
SLICES=${SLICES:-1}
MAX_RESTARTS=${MAX_RESTARTS:-100}
GRACE=${GRACE:-600} # seconds after SIGTERM, for the step and the checkpoint

workload=$1
shift
# exec: Python receives SIGTERM itself
xpk workload create --project "$PROJECT" --zone "$ZONE" --cluster "$CLUSTER" --workload "$workload" \
  --tpu-type "$TPU_TYPE" --num-slices "$SLICES" --docker-image "$IMAGE" --storage "$STORAGE" \
  --max-restarts "$MAX_RESTARTS" --termination-grace-period-seconds "$GRACE" \
  --command "cd /shared/gendiff && exec python -u -m experiments run $(printf '%q ' "$@")"
