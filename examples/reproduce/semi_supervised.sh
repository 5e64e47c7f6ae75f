#!/bin/sh
# Digits with few labels: y summed out, or drawn with and without a control variate (docs/zoo.md).
#   DATA=the/data/folder examples/reproduce/semi_supervised.sh [EPOCHS] [SEED ...]
# A line for each run: method, labels, seed, accuracy on the odd half of the dev part, ELBO.
set -eu
cd "$(dirname "$0")/../.."
: "${DATA:?the folder of the data sets}"
LVSPEC=${LVSPEC:-.venv/bin/lvspec}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
epochs=${1:-10}
[ $# -gt 0 ] && shift
for seed in "${@:-0}"; do
    for labels in 50 100 500; do
        for method in "enumeration" "reinforce(samples=2)" "reinforce(samples=2, baseline=none)"; do
            run=${OUT:-runs}/semi-$labels-$seed
            "$LVSPEC" train specs/semi_supervised_vae.yaml --data "$DATA/mnist_subset/mnist_subset.npz" --split-dev --overwrite \
                --quiet --out "$run" --seed "$seed" --epochs "$epochs" --set data.y.known="$labels" --set train.patience=0 \
                --set "infer.y=$method" > /dev/null
            "$LVSPEC" eval "$run" --samples 0 --json | "${PYTHON:-.venv/bin/python}" -c "
import json, sys
rows = json.load(sys.stdin)['figures']
accuracy = next(r['value'] for r in rows if r['quantity'] == 'accuracy')
elbo = next(r['value'] for r in rows if r['quantity'] == 'ELBO')
print('$method', $labels, $seed, round(accuracy, 4), round(elbo, 3), sep='\t', flush=True)"
        done
    done
done
