# The primary and its writable copy, as processes beside the node; sourced by checks.sh. Each has an address of its own,
# port 5432, and TLS with an authority of our own. The node's DNS knows them as shop-primary.shop.svc and
# shop-copy.shop.svc.

password=e2e-$RANDOM$RANDOM
postgres_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)
[ -x "$postgres_bin/postgres" ] || postgres_bin=$(dirname "$(command -v postgres)")

# A server refuses to run as root.
as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups "$@"; }

# sql SERVER DATABASE: runs standard input as the administrator.
sql() {
  as_nobody "$postgres_bin/psql" --host "$NODE_DIR/pg/$1" --username postgres --dbname "$2" \
    --quiet --no-align --tuples-only --no-psqlrc --set ON_ERROR_STOP=1
}

# server SERVER ADDRESS
start_server() {
  as_nobody "$postgres_bin/pg_ctl" --pgdata "$NODE_DIR/pg/$1" --log "$NODE_DIR/pg/$1.log" --wait --silent start --options "\
    -c listen_addresses=$2 -c unix_socket_directories=$NODE_DIR/pg/$1 -c fsync=off -c log_statement=ddl \
    -c ssl=on -c ssl_cert_file=$NODE_DIR/pg/server.crt -c ssl_key_file=$NODE_DIR/pg/server.key"
}

make_certificates() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=e2e -keyout "$NODE_DIR/ca.key" -out "$NODE_DIR/ca.crt"
  openssl req -new -newkey rsa:2048 -nodes -subj /CN=shop -keyout "$NODE_DIR/pg/server.key" -out "$NODE_DIR/server.csr"
  openssl x509 -req -in "$NODE_DIR/server.csr" -CA "$NODE_DIR/ca.crt" -CAkey "$NODE_DIR/ca.key" -days 2 -CAcreateserial \
    -extfile <(echo subjectAltName=DNS:shop-primary.shop.svc,DNS:shop-copy.shop.svc) -out "$NODE_DIR/pg/server.crt"
} 2>/dev/null

# The database of the samples, and a login with the least rights.
fill_primary() {
  sql primary postgres <<<"
    CREATE ROLE shop_owner;
    CREATE ROLE whimbrel LOGIN PASSWORD '$password';
    CREATE DATABASE shop OWNER shop_owner;"
  sql primary shop <<<"
    SET ROLE shop_owner;
    CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) n;"
  "$NODE_DIR/whimbrel" grants --login whimbrel --owner-role shop_owner --database shop | sql primary shop
}

# The copy is a real one: of the files of the stopped primary.
start_servers() {
  mkdir -p "$NODE_DIR/pg"
  chmod 711 "$NODE_DIR"
  make_certificates
  chown -R nobody:nogroup "$NODE_DIR/pg"
  as_nobody "$postgres_bin/initdb" --pgdata "$NODE_DIR/pg/primary" --username postgres --auth-local trust \
    --auth-host scram-sha-256 --no-sync --encoding UTF8 --locale C >"$NODE_DIR/initdb.log"
  as_nobody sh -c "echo 'hostssl all all all scram-sha-256' >>'$NODE_DIR/pg/primary/pg_hba.conf'"
  start_server primary 172.31.255.1
  fill_primary
  as_nobody "$postgres_bin/pg_ctl" --pgdata "$NODE_DIR/pg/primary" --wait --silent stop
  as_nobody cp -a "$NODE_DIR/pg/primary" "$NODE_DIR/pg/copy"
  start_server primary 172.31.255.1
  start_server copy 172.31.255.2
}

has_column() {
  [ "$(sql "$1" shop <<<"SELECT count(*) FROM information_schema.columns
    WHERE table_name = 'users' AND column_name = 'subscription_tier'")" = 1 ]
}

# The statements that changed a schema on the primary, as its own log counts them.
ddl_statements() { grep --count 'statement:' "$NODE_DIR/pg/primary.log"; }
