#!/bin/sh
# MLflow behind user names and passwords. Secrets come from files, never from the command line.
set -eu
secret() { cat "${SECRETS:-/run/secrets}/$1"; }

PGPASSWORD=$(secret postgres_password)
AWS_ACCESS_KEY_ID=$(secret s3_access_key)
AWS_SECRET_ACCESS_KEY=$(secret s3_secret_key)
MLFLOW_AUTH_ADMIN_USERNAME="admin"
MLFLOW_AUTH_ADMIN_PASSWORD=$(secret mlflow_admin_password)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret mlflow_secret_key)
export PGPASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
export MLFLOW_AUTH_ADMIN_USERNAME MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
for value in "$PGPASSWORD" "$MLFLOW_AUTH_ADMIN_PASSWORD" "$MLFLOW_FLASK_SERVER_SECRET_KEY"; do
    if [ "${#value}" -lt 12 ] || [ "$value" = password1234 ]; then
        echo "a password in .env is empty, a default, or has fewer than 12 characters" >&2
        exit 2
    fi
done

# The users' tables lie in the same database; who is not told otherwise may read what others record, no more.
MLFLOW_AUTH_CONFIG_PATH=${TMPDIR:-/tmp}/basic_auth.ini
export MLFLOW_AUTH_CONFIG_PATH
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = READ
database_uri = $MLFLOW_BACKEND_STORE_URI
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
auth_cache_ttl_seconds = 60
INI
exec mlflow server --app-name basic-auth --host "${LISTEN:-0.0.0.0}" --port "${PORT:-5000}" --serve-artifacts \
    --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:-localhost,localhost:*,127.0.0.1,127.0.0.1:*,mlflow,mlflow:*}" \
    --expose-prometheus "${TMPDIR:-/tmp}/metrics" "$@"
