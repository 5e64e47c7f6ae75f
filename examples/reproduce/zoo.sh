#!/bin/sh
# The figures of docs/zoo.md:  DATA=the/data/folder examples/reproduce/zoo.sh MODEL [SEED]
# MODEL is a file of specs/; the run is left in $OUT/MODEL-SEED (runs/ unless OUT says otherwise). SHORT="--epochs 10" or other
# options of `lvspec train` come last, and EVAL="--samples 0" or others of `lvspec eval`.
set -eu
cd "$(dirname "$0")/../.."
: "${DATA:?the folder of the data sets}"
LVSPEC=${LVSPEC:-.venv/bin/lvspec}
model=${1:?MODEL}
seed=${2:-0}
run=${OUT:-runs}/$model-$seed
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

train() { "$LVSPEC" train "specs/$model.yaml" --out "$run" --overwrite --quiet --seed "$seed" "$@" ${SHORT:-} > /dev/null; }
evaluate() { "$LVSPEC" eval "$run" "$@" ${EVAL:-}; }

# The films' sentences and the sizes of every recurrent model, so that their perplexities compare.
polarity() {
    train --data "$DATA/sentence_polarity/train.tsv" --valid "$DATA/sentence_polarity/dev.tsv" \
        --test "$DATA/sentence_polarity/test.tsv" --format tsv --column 2 --set data.x.min_count=1 \
        --set data.x.max_size=2000 --set sizes.E=64 --set sizes.H=128 "$@"
}
topics() {
    train --data "$DATA/wiki_topics/train.jsonl.gz" --valid "$DATA/wiki_topics/dev.jsonl.gz" --split-dev "$@"
}
treebank() {
    train --data "$DATA/ud_english_ewt/en_ewt-ud-train.conllu.gz" \
        --valid "$DATA/ud_english_ewt/en_ewt-ud-dev.conllu.gz" \
        --test "$DATA/ud_english_ewt/en_ewt-ud-test.conllu.gz" "$@"
}
pairs() {
    train --data "$DATA/tatoeba_en_fr/train.tsv.gz" --valid "$DATA/tatoeba_en_fr/dev.tsv.gz" \
        --test "$DATA/tatoeba_en_fr/test.tsv.gz" "$@"
}

case $model in
    hmm | deep_hmm) treebank && evaluate --gold upos ;;
    factorial_hmm_words) treebank --set sizes.L=3 --epochs 1 && evaluate --samples 5 ;;
    linear_chain_crf | bilstm_tagger) treebank && evaluate ;;
    dmv | dependency_crf) treebank && evaluate --gold head ;;
    pcfg | compound_pcfg)
        train --data "$DATA/gum_open/train.ptb.gz" --valid "$DATA/gum_open/dev.ptb.gz" --split-dev
        evaluate --gold tree
        ;;
    text_segmentation) .venv/bin/python examples/reproduce/text_segmentation.py "$DATA/wiki_topics" "$seed" ;;
    hsmm_templates) "${PYTHON:-.venv/bin/python}" examples/reproduce/templates.py "$DATA/e2e" "$seed" ;;
    ibm1 | hmm_alignment | monotone_alignment | ctc) pairs && evaluate ;;
    minimum_risk) "${PYTHON:-.venv/bin/python}" examples/reproduce/minimum_risk.py "$DATA/ud_english_ewt" "$seed" ;;
    variable_length_sequence) # KL=0.1, or KL="linear(0.1, 1, steps=300)": another weight of the KL
        pairs --set data.x.max_size=1000 --set train.learning_rate=0.005 --set train.patience=0 --set "train.kl_weight=${KL:-1}" --steps 400
        evaluate --samples 10
        ;;
    copy_attention) # or soft_attention, to compare
        train --data "$DATA/wikisplit/tune.tsv.gz" --valid "$DATA/wikisplit/validation.tsv.gz" --split-dev \
            --set sizes.E=32 --set sizes.H=32 --set train.learning_rate=0.004 --steps 156 && evaluate
        ;;
    seq2seq | mixture_of_experts | variational_nmt)
        pairs --set sizes.E=32 --set sizes.H=32 --set train.batch_size=32 --set train.learning_rate=0.004 --epochs 1
        evaluate --samples 10
        ;;
    soft_attention | latent_attention | latent_attention_elbo)
        pairs --set sizes.E=32 --set sizes.H=32 --set train.batch_size=32 --set train.learning_rate=0.004 --epochs 4 && evaluate
        ;;
    factorial_hmm)
        train --data "$DATA/js_fakes/train.jsonl.gz" --valid "$DATA/js_fakes/dev.jsonl.gz" --split-dev && evaluate
        ;;
    kalman)
        "${PYTHON:-.venv/bin/python}" examples/reproduce/geyser.py "$DATA/classic/faithful.csv" "$run-data"
        train --data "$run-data/train.jsonl" --valid "$run-data/valid.jsonl" --test "$run-data/test.jsonl" && evaluate
        ;;
    deep_markov_model)
        "${PYTHON:-.venv/bin/python}" examples/reproduce/piano_roll.py "$DATA/js_fakes" "$run-data"
        train --data "$run-data/train.jsonl" --valid "$run-data/dev.jsonl" --split-dev && evaluate
        ;;
    svi_vae | map_vae | vmf_vae | semi_amortized_vae | planar_flow_vae | iaf_vae | vae_tied | autoencoder)
        train --data "$DATA/digits8x8/digits.csv.gz" && evaluate
        ;;
    normalizing_flow)
        "${PYTHON:-.venv/bin/python}" examples/reproduce/dequantized.py "$DATA/digits8x8/digits.csv.gz" "$run-data"
        train --data "$run-data/train.jsonl" --valid "$run-data/valid.jsonl" --test "$run-data/test.jsonl" && evaluate
        ;;
    naive_bayes | naive_bayes_amortized) topics && evaluate --gold label ;;
    gaussian_softmax | neural_topic_model | nvdm) topics && evaluate ;;
    lda) topics && evaluate --samples 0 ;;
    bayesian_mixture) train --data "$DATA/classic/faithful.csv" && evaluate ;;
    vae | discrete_vae | beta_vae | iwae | iwae_discrete | semi_supervised_vae) train --data "$DATA/mnist_subset/mnist_subset.npz" --split-dev && evaluate ;;
    rnn_lm | mixture_of_rnns | softmax_mixture_lm | sentence_vae | transformer_vae) polarity && evaluate ;;
    gm_vae | dem_vae)
        train --data "$DATA/clinc150/train.tsv" --valid "$DATA/clinc150/val.tsv" --test "$DATA/clinc150/test.tsv" \
            --set sizes.E=64 --set sizes.H=128 && evaluate --gold 1 --latent c
        ;;
    *) echo "no recipe for $model" >&2 && exit 2 ;;
esac
