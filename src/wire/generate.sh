#!/bin/sh
# Makes *_pb.ts from *.proto; needs protoc (apt: protobuf-compiler).
set -eu
cd "$(dirname "$0")/../.."
protoc --plugin=node_modules/.bin/protoc-gen-es \
  --es_out=src/wire --es_opt=target=ts,import_extension=ts \
  --proto_path=src/wire weir.proto references.proto
node_modules/.bin/oxfmt src/wire/weir_pb.ts src/wire/references_pb.ts
