package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"time"
)

// pack returns an archive of files in a directory with the archive's name: a zip for
// Windows, else a tar.gz. Order, owner and times do not depend on the machine.
func pack(name string, p platform, content map[string]string, when time.Time) (file string, data []byte, err error) {
	var out bytes.Buffer
	var add func(entry string, executable bool, data []byte) error
	var finish func() error
	if p.os == "windows" {
		file = name + ".zip"
		z := zip.NewWriter(&out)
		finish = z.Close
		add = func(entry string, executable bool, data []byte) error {
			h := &zip.FileHeader{Name: entry, Method: zip.Deflate, Modified: when}
			h.SetMode(mode(executable))
			w, err := z.CreateHeader(h)
			return write(w, data, err)
		}
	} else {
		file = name + ".tar.gz"
		g := gzip.NewWriter(&out)
		t := tar.NewWriter(g)
		finish = func() error { return errors.Join(t.Close(), g.Close()) }
		add = func(entry string, executable bool, data []byte) error {
			err := t.WriteHeader(&tar.Header{Name: entry, Mode: int64(mode(executable)), Size: int64(len(data)), ModTime: when, Format: tar.FormatPAX})
			return write(t, data, err)
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(content)) {
		data, err := os.ReadFile(content[entry])
		if err == nil {
			err = add(path.Join(name, entry), path.Ext(entry) == "" && entry != "LICENSE", data)
		}
		if err != nil {
			return "", nil, err
		}
	}
	if err := finish(); err != nil {
		return "", nil, err
	}
	return file, out.Bytes(), nil
}

func mode(executable bool) os.FileMode {
	if executable {
		return 0o755
	}
	return 0o644
}

// write writes an entry whose header was written, or failed.
func write(w io.Writer, data []byte, err error) error {
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}
