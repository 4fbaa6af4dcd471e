package bus_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/parleybus/parley/internal/bus"
)

func TestAVariableMayNameAFileWithItsValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_TOKEN", "")
	t.Setenv("NATS_TOKEN_FILE", path)
	if got := bus.Getenv("NATS_TOKEN"); got != "secret" {
		t.Errorf("got %q", got)
	}
	t.Setenv("NATS_TOKEN", "overrides the file")
	if got := bus.Getenv("NATS_TOKEN"); got != "overrides the file" {
		t.Errorf("got %q", got)
	}
}
