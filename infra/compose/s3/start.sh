#!/bin/sh
# One node of SeaweedFS with its S3 gateway; the keys are those of the only identity. Buckets are made when first used.
set -eu
AWS_ACCESS_KEY_ID=$(cat "${SECRETS:-/run/secrets}/s3_access_key")
AWS_SECRET_ACCESS_KEY=$(cat "${SECRETS:-/run/secrets}/s3_secret_key")
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
[ "${#AWS_SECRET_ACCESS_KEY}" -ge 12 ] || { echo "S3_SECRET_KEY has fewer than 12 characters" >&2; exit 2; }
# Master, volume and filer talk within the container alone; only the gateway listens for others.
exec weed server -dir="${DATA:-/data}" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.ip.bind="${LISTEN:-0.0.0.0}" \
    -s3.port="${PORT:-8333}" "$@"
