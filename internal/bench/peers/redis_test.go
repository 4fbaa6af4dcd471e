package main

import (
	"testing"

	"github.com/parleybus/parley/internal/bench/wire/wiretest"
)

func TestRedisIsAWire(t *testing.T) {
	server, err := serve(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	w, err := open(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	wiretest.Run(t, w)
	if cpu, err := server.CPU(); err != nil || cpu < 0 {
		t.Errorf("processor time %v, %v", cpu, err)
	}
}
