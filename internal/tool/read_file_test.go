package tool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

// tree makes a root with files and a secret beside it.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	var many strings.Builder
	for range 40_000 {
		many.WriteString("a line of ten\n")
	}
	for name, content := range map[string]string{
		"secret.txt":         "secret",
		"root/a.txt":         "one\ntwo\nthree\n",
		"root/last.txt":      "one\ntwo",
		"root/empty":         "",
		"root/sub/deep.txt":  "deep",
		"root/binary":        "ab\x00cd",
		"root/latin.txt":     "caf\xe9",
		"root/many.txt":      many.String(),
		"root/wide.txt":      strings.Repeat("x", 300<<10) + "\nend\n",
		"root/nothing/.keep": "",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Remove(filepath.Join(root, "nothing/.keep")),
		os.Symlink("../secret.txt", filepath.Join(root, "out")),
		os.Symlink("/etc", filepath.Join(root, "etc")),
		os.Symlink("a.txt", filepath.Join(root, "in")),
		os.Symlink("loop", filepath.Join(root, "loop")),
	); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestReadFile(t *testing.T) {
	root := tree(t)
	r := builtins(t, tool.Config{Root: root})
	for _, c := range []struct {
		name string
		args args
		want string
	}{
		{"a file is read whole", args{"path": "a.txt"}, "one\ntwo\nthree\n"},
		{"a file below a directory is read", args{"path": "sub/deep.txt"}, "deep"},
		{"a path is cleaned", args{"path": "./sub/../a.txt"}, "one\ntwo\nthree\n"},
		{"an offset leaves out the lines before", args{"path": "a.txt", "offset": 2}, "two\nthree\n"},
		{"a limit says where to continue", args{"path": "a.txt", "limit": 2}, "one\ntwo\n\n(the file continues: read on with offset 3)"},
		{"a limit at the end says nothing", args{"path": "a.txt", "offset": 2, "limit": 2}, "two\nthree\n"},
		{"a last line without an end is a line", args{"path": "last.txt", "offset": 2, "limit": 1}, "two"},
		{"an empty file says so", args{"path": "empty"}, "(the file is empty)"},
		{"bytes that are no UTF-8 are replaced", args{"path": "latin.txt"}, "caf\uFFFD"},
		{"a link inside is followed", args{"path": "in", "limit": 1}, "one\n\n(the file continues: read on with offset 2)"},
		{"a directory is listed", args{"path": "sub"}, "deep.txt  4 bytes\n"},
		{"an empty directory says so", args{"path": "nothing"}, "(the directory is empty)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := call(t, r, "read_file", c.args); err != nil || got != c.want {
				t.Fatalf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	t.Run("the root is listed, sorted, with kinds", func(t *testing.T) {
		got, err := call(t, r, "read_file", args{"path": "."})
		if err != nil || !strings.HasPrefix(got, "a.txt  14 bytes\nbinary  5 bytes\n") || !strings.Contains(got, "\nsub/\n") {
			t.Fatalf("%q, %v", got, err)
		}
	})
	t.Run("a long file comes in parts that add up", func(t *testing.T) {
		var all strings.Builder
		offset, parts := 1, 0
		for ; parts < 10; parts++ {
			got, err := call(t, r, "read_file", args{"path": "many.txt", "offset": offset})
			if err != nil {
				t.Fatal(err)
			}
			text, note, more := strings.Cut(got, "\n(the file continues")
			all.WriteString(text)
			if !more {
				break
			}
			offset += strings.Count(text, "\n")
			if !strings.Contains(note, "offset "+strconv.Itoa(offset)+")") {
				t.Fatalf("note %q, want offset %d", note, offset)
			}
		}
		if want := strings.Repeat("a line of ten\n", 40_000); all.String() != want {
			t.Fatalf("%d bytes in %d parts, want %d", all.Len(), parts, len(want))
		}
	})
	t.Run("a line that is too long is cut and the next one offered", func(t *testing.T) {
		got, err := call(t, r, "read_file", args{"path": "wide.txt"})
		if err != nil || len(got) > 257<<10 || !strings.HasSuffix(got, "continue with offset 2)") {
			t.Fatal(len(got), err)
		}
	})
}

func TestReadFileRefuses(t *testing.T) {
	root := tree(t)
	r := builtins(t, tool.Config{Root: root})
	for _, c := range []struct {
		name string
		args args
		want string
	}{
		{"a way up", args{"path": "../secret.txt"}, "only what is below"},
		{"a way down and up", args{"path": "sub/../../secret.txt"}, "only what is below"},
		{"an absolute path", args{"path": "/etc/passwd"}, "only what is below"},
		{"a link out", args{"path": "out"}, "only what is below"},
		{"a path through a link out", args{"path": "etc/passwd"}, "only what is below"},
		{"a link to itself", args{"path": "loop"}, "cannot be read"},
		{"a path with a zero byte", args{"path": "a\x00b"}, "cannot be read"},
		{"a file that is not there", args{"path": "b.txt"}, "list its directory"},
		{"a file as a directory", args{"path": "a.txt/x"}, ""},
		{"a binary file", args{"path": "binary"}, "binary"},
		{"an offset behind the end", args{"path": "a.txt", "offset": 9}, "fewer than 9 lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := call(t, r, "read_file", c.args)
			tooltest.Failed(t, err, c.want)
			if strings.Contains(err.Error(), root) || got != "" {
				t.Fatalf("%q, %v tells where the root is", got, err)
			}
		})
	}
	t.Run("to continue when its context has ended", func(t *testing.T) {
		it, _ := r.Lookup("read_file")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := it.Run(ctx, tool.Input{Arguments: []byte(`{"path":"a.txt"}`)}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
	t.Run("a root that has gone", func(t *testing.T) {
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
		if _, err := call(t, r, "read_file", args{"path": "a.txt"}); err == nil {
			t.Fatal("read")
		}
	})
}
