package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/media"
)

// readFiles reads the files of --file, so that one that cannot be sent is an error
// before anything is.
func readFiles(paths []string) ([]parley.SendOption, error) {
	var all []parley.SendOption
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return nil, err
		}
		name := filepath.Base(path)
		if err := media.Check(name, data); err != nil {
			return nil, usagef("--file: %v", err)
		}
		all = append(all, parley.WithFile(name, data))
	}
	return all, nil
}

// readFile reads a file, and no more of it than may be sent.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		if cause, ok := errors.AsType[*fs.PathError](err); ok {
			err = cause.Err
		}
		return nil, usagef("--file: %s cannot be read: %v", path, err)
	}
	defer func() { _ = f.Close() }() // only read
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, usagef("--file: %s is a directory: name a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, media.PerRequest+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
