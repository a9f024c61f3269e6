#!/usr/bin/env bash
# Types, lint, format, unit tests, fuzzing, attacks, end-to-end tests and faults, each to its end whatever the one before came to; then a
# summary. Exit code 0 where all of them passed. Run by `make test`.
set -uo pipefail
cd "$(dirname "$0")/.."

logs="$(mktemp -d "${TMPDIR:-/tmp}/weir-test-run-XXXXXX")"
export TEST_RUN_FOLDER="$logs" # what the suites share (test/support/run-folder.ts)
trap 'rm -rf "$logs"' EXIT
failed=0
summary=''
failures=''

# What failed, and why: the first lines of each failure, as mocha lists them at the end of a process.
failures_of() {
  sed 's/\x1b\[[0-9;]*m//g' "$2" | awk -v suite="$1" '
    /^ +[0-9]+ failing/ { inside = 1 }
    /^ +[0-9]+ passing/ { inside = 0 }
    inside && /^  [0-9]+\) / { left = 12; printf "%s:\n", suite }
    inside && left-- > 0 { print }' | head -n 120
}

step() {
  local name="$1" log="$logs/$1.log" outcome counts start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@" 2>&1 | tee "$log"
  outcome="${PIPESTATUS[0]}"
  # A suite may have run in several processes of mocha, each with its own counts.
  counts="$(sed 's/\x1b\[[0-9;]*m//g' "$log" |
    sed -nE 's/^ +([0-9]+) (passing|failing|pending)( \(.*)?$/\1 \2/p' |
    awk '{ n[$2] += $1 } END { for (kind in n) print n[kind], kind }' | sort -k 2r |
    sed 's/pending/left out/' | paste -sd, | sed 's/,/, /g')"
  if [ "$outcome" != 0 ]; then
    failed=1
    failures+="$(failures_of "$name" "$log")"$'\n'
  fi
  summary+="$(printf '%-8s %s %s(%ss)' "$name" "$([ "$outcome" = 0 ] && echo passed || echo FAILED)" \
    "${counts:+: $counts }" "$((SECONDS - start))")"$'\n'
}

step check npm run --silent check
step unit npm run --silent test:unit
step fuzz npm run --silent test:fuzz
step security npm run --silent test:security
step e2e npm run --silent test:e2e
step faults npm run --silent test:faults
step alone npm run --silent test:alone

[ "$failed" = 0 ] || printf '\n== failures\n%s' "$failures"
printf '\n== summary\n%s' "$summary"
exit "$failed"
