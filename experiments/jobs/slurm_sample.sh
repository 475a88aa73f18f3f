#!/usr/bin/env bash
# Draws many samples as an array of SLURM jobs; each job draws its share of the shards.
#
#   RUN=runs/photos NUM=50000 sbatch --array=0-9 experiments/jobs/slurm_sample.sh --steps 50
#
# What follows the script's name is handed to `python -m experiments sample`. A job that is killed draws only what is not complete when it
# is started again. Submitting the same command twice is harmless. When all jobs are done, make one file of the samples, and measure them:
#
#   gendiff finalize samples/photos --to photos.npz
#   .venv/bin/python -m experiments evaluate samples/photos --reference STATISTICS.npz
#SBATCH --job-name=gendiff-sample
#SBATCH --array=0-9
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@60

set -u
PYTHON=${PYTHON:-.venv/bin/python}
RUN=${RUN:?give the run folder, such as RUN=runs/photos}
NUM=${NUM:-50000}
SHARD_SIZE=${SHARD_SIZE:-1000}
OUT=${OUT:-samples/$(basename "$RUN")}
MAX_RESTARTS=${MAX_RESTARTS:-100}

# The shards first … last of this job.
count=$(((NUM + SHARD_SIZE - 1) / SHARD_SIZE))
each=$(((count + SLURM_ARRAY_TASK_COUNT - 1) / SLURM_ARRAY_TASK_COUNT))
first=$(((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN) * each))
last=$((first + each < count ? first + each - 1 : count - 1))
if [ "$first" -ge "$count" ]; then
  echo "$count shards are fewer than the jobs of the array: nothing is left for this one"
  exit 0
fi

trap : TERM # the signal is for the task; this script stays to read how it ends
srun "$PYTHON" -u -m experiments sample "$RUN" --num "$NUM" --shard-size "$SHARD_SIZE" --shards "$first-$last" --out "$OUT" "$@"
code=$?

# 42: interrupted, start me again. 128 + N: killed by signal N. All others would end the same way again.
if { [ "$code" -eq 42 ] || [ "$code" -gt 128 ]; } && [ "${SLURM_RESTART_COUNT:-0}" -lt "$MAX_RESTARTS" ]; then
  echo "exit code $code: the job goes back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
