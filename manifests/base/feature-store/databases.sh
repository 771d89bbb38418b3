#!/bin/sh
# Run once by the image, when the data folder is empty: a database for each client, owned by a user
# that sees no other. psql quotes names and passwords.
set -eu

make_database() {
  psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set database="$1" --set user="$2" --set password="$3" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"user";
REVOKE CONNECT ON DATABASE :"database" FROM PUBLIC;
SQL
}

make_database "$FEATURE_STORE_DATABASE" "$FEATURE_STORE_USER" "$FEATURE_STORE_PASSWORD"
make_database "$MLFLOW_DATABASE" "$MLFLOW_USER" "$MLFLOW_PASSWORD"
