//go:build tools

// Package tools pins golang-migrate, which the benchmark compares with.
package tools

import _ "github.com/golang-migrate/migrate/v4/cmd/migrate"
