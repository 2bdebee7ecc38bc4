#!/bin/sh
# Makes what a broker with keys needs, once: its own key, one for workers, one for operators, a token for HTTP and one
# for Prometheus, and the file that says who may do what. What is there is left as it is.
#
#     keys.sh DIRECTORY
#
# Needs the program `ganger` on the PATH. See docs/security.md for what the files mean.
set -eu
umask 077

keys="${1:?usage: keys.sh DIRECTORY}"
if [ -e "$keys/authorised-keys" ]; then
    echo "keys.sh: $keys has keys already"
    exit 0
fi
mkdir -p "$keys"
# Half of it is worth nothing, so whatever an earlier try left is made anew, and the file that is looked for comes last.
rm -f "$keys"/broker.key "$keys"/worker.key "$keys"/operator.key "$keys"/operator.token "$keys"/prometheus.token

ganger keygen broker --out "$keys/broker.key" >"$keys/broker.pub"
worker="$(ganger keygen worker --out "$keys/worker.key")"
operator="$(ganger keygen operator --out "$keys/operator.key")"
token="$(ganger keygen --token operator --out "$keys/operator.token")"
prometheus="$(ganger keygen --token prometheus --out "$keys/prometheus.token")"

cat >"$keys/authorised-keys.new" <<KEYS
# who, what they may do, and whose it is; see docs/security.md
$worker work,knowledge-read # workers
$operator submit,admin,knowledge-read,knowledge-write # operations
$token submit,admin,knowledge-read,knowledge-write # operations, over HTTP
$prometheus knowledge-read topics=none # the figures, and nothing else
KEYS
mv "$keys/authorised-keys.new" "$keys/authorised-keys"
echo "keys.sh: made keys in $keys"
