#!/usr/bin/env bash
# Trains under SLURM until the run is finished, however often the job is interrupted.
#
#   sbatch experiments/jobs/slurm_train.sh images --data PHOTOS --out runs/photos
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 experiments/jobs/slurm_train.sh digits
#
# What follows the script's name is handed to `python -m experiments run`. Submit from the repository's folder, which all nodes must see.
# Options on sbatch's command line win over those below. Tasks per node = GPUs per node: each task drives one GPU.
#SBATCH --job-name=gendiff
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
# After a restart the log goes on in the same file.
#SBATCH --open-mode=append
# A node that fails, or that a more urgent job needs, puts the job back into the queue.
#SBATCH --requeue
# 180 s before the time is up, every task receives SIGTERM. It finishes its step, saves, and ends with exit code 42.
#SBATCH --signal=TERM@180

set -u
PYTHON=${PYTHON:-.venv/bin/python}
MAX_RESTARTS=${MAX_RESTARTS:-100} # of this job, so that one that always dies does not go on for ever

trap : TERM # the signal is for the tasks; this script stays to read how they end
srun "$PYTHON" -u -m experiments run "$@"
code=$? # the highest one of all tasks

# 42: saved, start me again. 128 + N: killed by signal N. All others would end the same way again.
if { [ "$code" -eq 42 ] || [ "$code" -gt 128 ]; } && [ "${SLURM_RESTART_COUNT:-0}" -lt "$MAX_RESTARTS" ]; then
  echo "exit code $code: the job goes back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
