#!/usr/bin/env bash
# Times ours and others in turn on learning: steps, letters to 5% error, letters as well as they can, Fashion-MNIST. Prints
# one table, leaves the lines in target/learning.jsonl, and draws reports/learning-*.svg. With --flower, Flower too.
# Ours is ROUNDTABLE_BIN, by default target/release/roundtable. Takes minutes; the machine should have nothing else to do.
set -euo pipefail
case "$*" in
  '') flower= ;;
  --flower) flower=yes ;;
  *) echo "usage: $0 [--flower]" >&2; exit 2 ;;
esac
. "$(dirname "$0")/common.sh"
told=../../target/learning.jsonl
: > "$told"
say_load before
began=$SECONDS

if ${CC:-cc} -O3 -march=native -o ../../target/peak peak.c; then
  time_one ../../target/peak
fi
time_our_steps
time_our_steps widths
time_one "$python" torch_adam.py
time_one "$python" sklearn_learning.py step
time_one "$python" torch_step.py sizes

time_one "$python" ours_learning.py reach
time_one "$python" torch_learning.py reach
time_one "$python" torch_pair.py
time_one "$python" sklearn_learning.py reach
if [ -n "$flower" ]; then
  time_one "$python" flower_learning.py
fi

time_one "$python" ours_learning.py best
time_one "$python" torch_learning.py best
time_one "$python" sklearn_learning.py best

time_one "$python" ours_learning.py fashion
time_one "$python" torch_learning.py fashion

say_load after
echo "$((SECONDS - began)) s" >&2
"$python" table.py < "$told"
for plot in error steps; do
  "$python" plot_learning.py "$plot" < "$told" > "../../target/learning-$plot.svg" \
    && mv "../../target/learning-$plot.svg" ../../reports/ \
    || echo "no plot of $plot" >&2
done
