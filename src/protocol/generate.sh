#!/bin/sh
# Generates *_pb.ts from *.proto; needs protoc (apt: protobuf-compiler).
set -eu
cd "$(dirname "$0")/../.."
protoc --plugin=node_modules/.bin/protoc-gen-es \
  --es_out=src/protocol --es_opt=target=ts,import_extension=ts \
  --proto_path=src/protocol weir.proto references.proto wire.proto preheat.proto
node_modules/.bin/oxfmt src/protocol/weir_pb.ts src/protocol/references_pb.ts src/protocol/wire_pb.ts \
  src/protocol/preheat_pb.ts
