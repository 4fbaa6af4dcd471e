// Package chaos holds the tests that try to break a deployment of real processes. A
// seed decides what is struck, how, and at which named moment (package fault), how the
// provider of models fails, and what happens to the store; then the log, the tools' own
// ledger, what viewers saw and what is left are checked. `make chaos SEEDS=500` runs it.
package chaos
