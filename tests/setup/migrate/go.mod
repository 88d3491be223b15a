module whimbrel.dev/tests/setup/migrate

go 1.26.3

require github.com/golang-migrate/migrate/v4 v4.20.1
