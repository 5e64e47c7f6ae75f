#!/bin/sh
# Tagging accuracy of a CRF and of a softmax at each word:  DATA=the/data/folder examples/reproduce/taggers.sh [SEED ...]
# First as in specs/, with a BiLSTM that reads the sentence; then with scores that see one word alone, for 8 epochs.
# The runs are left in $OUT (runs/ unless OUT says otherwise).
set -eu
cd "$(dirname "$0")/../.."
: "${DATA:?the folder of the data sets}"
LVSPEC=${LVSPEC:-.venv/bin/lvspec}
out=${OUT:-runs}
treebank=$DATA/ud_english_ewt/en_ewt-ud
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$out"

# MODEL.yaml without its reader
one_word() {
    sed -e 's/reader(words(x))\[t\]/words(x[t])/' -e 's/Linear(2\*H, K)/Linear(E, K)/' -e '/reader:/d' -e '/ H: 64/d' \
        -e 's/epochs: 4/epochs: 8/' "specs/$1.yaml"
}

tagged() { # SPEC RUN SEED
    "$LVSPEC" train "$1" --out "$2" --overwrite --quiet --seed "$3" --data "$treebank-train.conllu.gz" \
        --valid "$treebank-dev.conllu.gz" --test "$treebank-test.conllu.gz" > /dev/null
    echo "$2" && "$LVSPEC" eval "$2"
}

for seed in "${@:-0}"; do
    for model in linear_chain_crf bilstm_tagger; do
        tagged "specs/$model.yaml" "$out/$model-$seed" "$seed"
        one_word "$model" > "$out/$model-one-word.yaml"
        tagged "$out/$model-one-word.yaml" "$out/$model-one-word-$seed" "$seed"
    done
done
