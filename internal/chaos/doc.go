// Package chaos holds the tests that try to break a deployment of real processes: a
// seed decides which processes are killed, suspended and stopped by a signal, which
// connections are cut, and at which named moments (package fault); then the log, the
// tools' own ledger and what viewers saw are checked. `make chaos SEEDS=500` runs it.
package chaos
