//go:build tools

// Package tools pins pgroll, whose backfill the benchmark compares with.
package tools

import _ "github.com/xataio/pgroll"
