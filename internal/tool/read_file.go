package tool

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

const (
	maxContent = 256 << 10 // bytes of a file that one call returns
	maxEntries = 1000      // entries of a directory that one call returns
	sniff      = 8 << 10   // bytes at the start that are checked for binary content
)

// reader is the tool read_file. The root is opened for every call, so it may be
// replaced or mounted while the worker runs.
type reader struct{ root string }

func newReader(root string) (*reader, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("read_file: the root must be a directory that can be read: %w", err)
	}
	return &reader{root: root}, r.Close()
}

// Spec implements [Tool].
func (r *reader) Spec() events.ToolSpec {
	return events.ToolSpec{
		Name: "read_file",
		Description: "Reads a text file, or lists a directory, below one directory that was opened for you. Paths are relative to it; \".\" lists it. " +
			"A long file comes in parts: the end of each says which offset continues.",
		Schema: json.RawMessage(`{
			"type": "object",
			"properties": {
				"path": {"type": "string", "maxLength": 4096, "description": "the file or directory, relative, with / between names"},
				"offset": {"type": "integer", "minimum": 1, "maximum": 1000000000, "description": "the first line to read, from 1 (the default)"},
				"limit": {"type": "integer", "minimum": 1, "maximum": 1000000, "description": "how many lines to read; as many as fit when absent"}
			},
			"required": ["path"],
			"additionalProperties": false
		}`),
		Effect:    events.EffectPure,
		TimeoutMS: 30_000,
	}
}

// Run implements [Tool].
func (r *reader) Run(ctx context.Context, in Input) (Result, error) {
	var args struct {
		Path   string `json:"path"`
		Offset int    `json:"offset"`
		Limit  int    `json:"limit"`
	}
	if err := in.Decode(&args); err != nil {
		return Result{}, err
	}
	name := path.Clean(cmp.Or(args.Path, "."))
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return Result{}, fmt.Errorf("the directory of read_file cannot be opened: %w", err)
	}
	defer root.Close()
	// Checked before opening: opening a named pipe would wait for a writer.
	info, err := root.Stat(name)
	if err != nil {
		return Result{}, unreadable(args.Path, err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return Result{}, Fail("%.200q is neither a file nor a directory: choose another", args.Path)
	}
	f, err := root.Open(name)
	if err != nil {
		return Result{}, unreadable(args.Path, err)
	}
	defer f.Close()
	if info.IsDir() {
		return list(f, args.Path)
	}
	return lines(ctx, f, args.Path, max(args.Offset, 1), args.Limit)
}

// unreadable returns the error without the path of the root.
func unreadable(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Fail("there is no %.200q: list its directory to see what there is", name)
	case errors.Is(err, fs.ErrPermission):
		return Fail("%.200q may not be read", name)
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return Fail("%.200q cannot be read: %v; only what is below the opened directory can be, by a relative path", name, err)
}

func list(f *os.File, name string) (Result, error) {
	entries, err := f.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return Result{}, unreadable(name, err)
	}
	if len(entries) == 0 {
		return Result{Content: "(the directory is empty)"}, nil
	}
	more := len(entries) > maxEntries
	entries = entries[:min(len(entries), maxEntries)]
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(strings.ToValidUTF8(e.Name(), "\uFFFD"))
		switch info, err := e.Info(); {
		case e.IsDir():
			b.WriteByte('/')
		case err == nil && info.Mode().IsRegular():
			fmt.Fprintf(&b, "  %d bytes", info.Size())
		case err == nil:
			fmt.Fprintf(&b, "  %s", info.Mode().Type())
		}
		b.WriteByte('\n')
	}
	if more {
		fmt.Fprintf(&b, "(and more: only %d entries are listed)\n", maxEntries)
	}
	return Result{Content: b.String()}, nil
}

// lines reads limit lines from line offset on; limit 0 means as many as fit.
func lines(ctx context.Context, f io.Reader, name string, offset, limit int) (Result, error) {
	in := bufio.NewReaderSize(f, sniff)
	if head, err := in.Peek(sniff); bytes.IndexByte(head, 0) >= 0 {
		return Result{}, Fail("%.200q is a binary file: read_file reads text", name)
	} else if err != nil && !errors.Is(err, io.EOF) {
		return Result{}, unreadable(name, err)
	}
	var content bytes.Buffer
	line, note := 1, ""
	for {
		if err := ctx.Err(); err != nil {
			return Result{}, fmt.Errorf("reading %q: %w", name, err)
		}
		part, err := in.ReadSlice('\n')
		if line >= offset && len(part) > 0 {
			if limit > 0 && line-offset >= limit {
				note = fmt.Sprintf("\n(the file continues: read on with offset %d)", line)
				break
			}
			if room := maxContent - content.Len(); len(part) > room {
				whole := bytes.LastIndexByte(content.Bytes(), '\n') + 1
				if whole > 0 {
					content.Truncate(whole)
					note = fmt.Sprintf("\n(the file continues: read on with offset %d)", line)
				} else {
					content.Write(part[:room])
					note = fmt.Sprintf("\n(line %d is longer than %d bytes and cut here; continue with offset %d)", line, maxContent, line+1)
				}
				break
			}
			content.Write(part)
		}
		if err == nil {
			line++
			continue
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return Result{}, unreadable(name, err)
		}
		break
	}
	if content.Len() == 0 {
		if offset > 1 {
			return Result{}, Fail("%.200q has fewer than %d lines: choose a smaller offset", name, offset)
		}
		return Result{Content: "(the file is empty)"}, nil
	}
	return Result{Content: strings.ToValidUTF8(content.String(), "\uFFFD") + note}, nil
}
