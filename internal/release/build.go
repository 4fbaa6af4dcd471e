package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// versionFlag is the variable that --version prints.
const versionFlag = "github.com/parleybus/parley/internal/daemon.Version"

// release is one release of the module.
type release struct {
	version   string
	module    string // directory of the module
	out       string // directory of the files
	platforms []platform
	commands  []string // all under cmd when empty
	files     []string // what was written to out
}

// make builds everything. It writes into an empty directory only: files of an earlier
// release would get checksums of this one.
func (r *release) make(ctx context.Context) error {
	if !regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]*$`).MatchString(r.version) {
		return fmt.Errorf("version %q: give one such as 1.2.3", r.version)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if there, err := os.ReadDir(r.out); err != nil || len(there) > 0 {
		return errors.Join(err, fmt.Errorf("directory %s is not empty: remove it first", r.out))
	}
	if err := r.findCommands(); err != nil {
		return err
	}
	when, err := r.commitTime(ctx)
	if err != nil {
		return err
	}
	for _, p := range r.platforms {
		if err := r.platform(ctx, p, when); err != nil {
			return fmt.Errorf("%s/%s: %w", p.os, p.arch, err)
		}
	}
	return r.checksums()
}

// findCommands lists the commands of the module.
func (r *release) findCommands() error {
	if len(r.commands) > 0 {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(r.module, "cmd"))
	for _, e := range entries {
		r.commands = append(r.commands, e.Name())
	}
	return err
}

// commitTime is the time of the files in the archives.
func (r *release) commitTime(ctx context.Context) (time.Time, error) {
	cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
	cmd.Dir = r.module
	out, err := cmd.Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("time of the commit: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// platform builds the files of one platform.
func (r *release) platform(ctx context.Context, p platform, when time.Time) (err error) {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	name := fmt.Sprintf("parley_%s_%s_%s", r.version, p.os, p.arch)
	content := map[string]string{} // name in the archive: file
	for _, document := range []string{"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md"} {
		content[document] = filepath.Join(r.module, document)
	}
	for _, command := range r.commands {
		file := filepath.Join(dir, p.binary(command))
		if err := r.build(ctx, p, command, file); err != nil {
			return err
		}
		content[p.binary(command)] = file
		bill, err := billOf(file, command, r.version, p, when)
		if err != nil {
			return fmt.Errorf("bill of materials of %s: %w", command, err)
		}
		if err := r.write(name+"_"+command+".cdx.json", bill); err != nil {
			return err
		}
	}
	archive, data, err := pack(name, p, content, when)
	if err != nil {
		return err
	}
	return r.write(archive, data)
}

// build builds a command. Its settings replace those of the machine: an empty variable
// would leave what `go env -w` has set.
func (r *release) build(ctx context.Context, p platform, command, file string) error {
	out, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X "+versionFlag+"="+r.version, "-o", out, "./cmd/"+command)
	cmd.Dir = r.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOFLAGS=-buildvcs=auto", "GOAMD64=v1", "GOARM64=v8.0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", command, err, said)
	}
	return nil
}

// write writes a file of the release.
func (r *release) write(name string, data []byte) error {
	r.files = append(r.files, filepath.Join(r.out, name))
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}

// checksums writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) checksums() error {
	slices.Sort(r.files)
	var text strings.Builder
	for _, file := range r.files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(&text, "%s  %s\n", hex.EncodeToString(sum[:]), filepath.Base(file))
	}
	return r.write("SHA256SUMS", []byte(text.String()))
}
