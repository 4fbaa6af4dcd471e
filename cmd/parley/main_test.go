package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be the command itself when a script runs it.
func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){
		"parley": func() { os.Exit(run(os.Args[1:])) },
		"asker":  asker,
		"crowd":  crowd,
		"thief":  thief,
	})
}

// tidy runs the tests and fails when they leave goroutines behind.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	code := t.M.Run()
	// nats-server waits for an answer to the request for HISTORY's source on a
	// goroutine that outlives its shutdown.
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines are left:", err)
		return 1
	}
	return code
}
