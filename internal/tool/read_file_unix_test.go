//go:build unix

package tool_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func TestReadFileRefusesANamedPipeWithoutWaitingForIt(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := call(t, builtins(t, tool.Config{Root: root}), "read_file", args{"path": "pipe"})
	tooltest.Failed(t, err, "neither a file nor a directory")
}
