#!/usr/bin/env bash
# The command-line tool as its users see it.   cli.sh <cosqlite-migrate>
set -uo pipefail
tool=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
unset DATABASE_URL
failures=0

fail() { printf 'FAILED: %s\n' "$*" >&2; failures=$((failures + 1)); }

# expect <exit code> <text that the output holds> <arguments…>
expect() {
  local code=$1 text=$2 output actual
  shift 2
  output=$("$tool" "$@" 2>&1)
  actual=$?
  [ "$actual" -eq "$code" ] || fail "\`$*\` ended with $actual, not $code: $output"
  [[ $output == *"$text"* ]] || fail "\`$*\` does not say \"$text\" but: $output"
}

expect 0 'usage: cosqlite-migrate' --help
expect 0 'cosqlite-migrate 0.' --version
expect 2 'which command?'
expect 2 '--dry-run takes no value' up --dry-run=yes
expect 2 '--to goes with up and down' status --to 1
expect 2 'is one word too many' up down
expect 2 'there is no command "upp"' upp
expect 2 'there is no option --sauce' up --sauce x
expect 2 '--to wants the number' up --to three
expect 2 '--to wants a value' up --to
expect 2 'new wants a name' new
expect 2 'letters, digits' new ../evil
expect 2 'there is no folder migrations' up --database app.db
expect 0 'Created migrations/0001_users.up.sql' new users
expect 0 'Created migrations/0002_add_email.down.sql' add -r 'add email'
expect 2 'which database?' status
expect 2 'is not SQLite' status -D postgres://localhost/x
expect 2 'names no file' status -D 'sqlite://?mode=rwc'
expect 1 'holds no statement' up --database app.db --create
echo 'CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL);' > migrations/0001_users.up.sql
echo 'DROP TABLE users;' > migrations/0001_users.down.sql
echo 'ALTER TABLE users ADD email TEXT;' > migrations/0002_add_email.up.sql
echo 'ALTER TABLE users DROP COLUMN email;' > migrations/0002_add_email.down.sql
expect 2 'there is no file app.db; to make a new database, add --create' up --database app.db
[ -e app.db ] && fail 'a database was made without --create'
expect 0 'Can apply 2/add_email' up --dry-run --create --database=app.db
[ -e app.db ] && fail 'a dry run made a database'
expect 0 '1/pending users' status --create --database app.db
expect 0 'Applied 1/users' up --database app.db --to 1
export DATABASE_URL=sqlite:app.db
expect 0 '1/applied users  20' info
expect 0 '2/pending add_email' status
expect 0 'Applied 2/add_email' migrate run
expect 0 'Nothing to apply' up
expect 0 'Can take back 2/add_email' down --dry-run
expect 1 'there is no migration of version 7' down --dry-run --to 7
expect 0 '2/applied add_email' status
expect 0 'Took back 2/add_email' revert
expect 1 'past' up --to 0
expect 0 'Applied 2/add_email' up --target-version 2
expect 1 'there is no migration of version 7' up --to 7
unset DATABASE_URL
echo 'DATABASE_URL="sqlite://app.db?mode=rw"' > .env
mkdir -p deeper && cd deeper
expect 0 '2/applied add_email' status --source ../migrations -D ../app.db
sed -i "s|app.db|$folder/app.db|" ../.env
expect 0 '2/applied add_email' status --source ../migrations
cd ..
expect 0 'Took back 1/users' down --to 0
expect 0 'Nothing to take back' down
expect 0 'Applied 2/add_email' up
rm .env
expect 0 'Applied 1/users' up -D 'sqlite://other.db?mode=rwc' --source ./migrations
[ -f other.db ] || fail 'mode=rwc made no database'
expect 0 'Applied 1/users' up -D 'sqlite:with%20blank%25.db?mode=rwc'
[ -f 'with blank%.db' ] || fail 'a URL was not decoded'

export DATABASE_URL=app.db
echo 'CREATE TABLE people(id INTEGER PRIMARY KEY);' > migrations/0001_users.up.sql
expect 1 'migration 1 (users) was changed after it had been applied' up
expect 1 '1/changed users' status
echo 'CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL);' > migrations/0001_users.up.sql
sed -i 's/DROP COLUMN email/DROP COLUMN nothing/' migrations/0002_add_email.down.sql
expect 1 'migration 2 (add_email) could not be taken back, nothing of it was kept' down
expect 1 'migration 2 (add_email) could not be taken back' down --dry-run
expect 0 '2/applied add_email' status
rm migrations/0002_add_email.down.sql
expect 1 'migration 2 (add_email) has no way down' down
expect 1 'migration 2 (add_email) has no way down' down --dry-run
echo 'ALTER TABLE users DROP COLUMN email;' > migrations/0002_add_email.down.sql
printf 'CREATE TABLE a(b);\nINSERT INTO nowhere VALUES (1);\n' > migrations/0003_broken.up.sql
expect 1 'migration 3 (broken) failed, nothing of it was kept: no such table: nowhere' up
expect 1 'migration 3 (broken) failed' up --dry-run
expect 0 '3/pending broken' status
echo 'BEGIN; CREATE TABLE a(b); COMMIT;' > migrations/0003_broken.up.sql
expect 1 'statement 1 is BEGIN' up
rm migrations/0003_broken.up.sql
touch migrations/0002_twice.up.sql
expect 1 'two migrations have version 2' status
rm migrations/0002_twice.up.sql
expect 0 'Nothing to apply' up
head -c 4096 /dev/urandom > noise.db
expect 1 'not a database' status -D noise.db

# What was done before a step that fails is said, and stays.
printf 'CREATE TABLE c(d);' > migrations/0003_good.up.sql
printf 'INSERT INTO nowhere VALUES (1);' > migrations/0004_bad.up.sql
expect 1 'Applied 3/good' up -D half.db --create
expect 0 '3/applied good' status -D half.db
expect 0 '4/pending bad' status -D half.db
rm migrations/0003_good.up.sql migrations/0004_bad.up.sql
expect 1 'the database is newer than this program: migration 3 (good) is applied' up -D half.db

# Numbers of new steps: by the time, and in sequence after whatever there is.
expect 0 "Created times/$(date -u +%Y)" new -t first --source times
expect 0 "Created times/$(date -u +%Y)" new second --source times
expect 0 '_third.up.sql' new --timestamp third --source times
[ "$(find times -name '*.up.sql' | wc -l)" -eq 3 ] || fail 'three steps did not make three files'
last=$(find times -name '*_third.up.sql' -printf '%f')
expect 0 "Created times/$((${last%%_*} + 1))_fourth.up.sql" new -s fourth --source times

# Many at once: each step runs once.
rm -f many.db
"$tool" up -D many.db --create --to 1 > /dev/null || fail 'many.db was not made'
for i in 3 4 5 6; do echo "CREATE TABLE t$i(a); INSERT INTO users(name) VALUES ('$i');" > "migrations/000${i}_t$i.up.sql"; done
pids=()
for _ in 1 2 3 4 5; do
  "$tool" up -D many.db > /dev/null &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail 'one of many failed'; done
expect 0 '6/applied t6' status -D many.db

[ "$failures" -eq 0 ] && echo "all as expected"
exit $((failures > 0))
