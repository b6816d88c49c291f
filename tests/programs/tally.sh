# Build the example in Go, with C in it or static: sh tally.sh 1|0 PROGRAM
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$(dirname "$0")/../../examples/tally.go" "$folder"
[ "$1" = 0 ] || printf 'package main\n\nimport "C"\n' >"$folder/c.go"
cd "$folder"
CGO_ENABLED=$1 go build -o "$2" ./*.go
