package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// released makes a release of one command.
func released(t *testing.T, platforms ...platform) *release {
	t.Helper()
	r := &release{version: "1.2.3-test", module: "../..", out: filepath.Join(t.TempDir(), "dist"), platforms: platforms, commands: []string{"tool-worker"}}
	if err := r.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// unpacked returns the files of an archive, by name, and their modes.
func unpacked(t *testing.T, archive string) (files map[string][]byte, modes map[string]os.FileMode) {
	t.Helper()
	raw, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files, modes = map[string][]byte{}, map[string]os.FileMode{}
	if strings.HasSuffix(archive, ".zip") {
		z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			in, err := f.Open()
			if err == nil {
				files[f.Name], err = io.ReadAll(in)
			}
			if err != nil {
				t.Fatal(err)
			}
			modes[f.Name] = f.Mode()
		}
		return files, modes
	}
	g, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(g); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, modes
		}
		if err == nil {
			files[h.Name], err = io.ReadAll(in)
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.FileInfo().Mode()
	}
}

// TestTheBillNamesEveryModule: as go version -m prints what a binary holds.
func TestTheBillNamesEveryModule(t *testing.T) {
	t.Parallel()
	host := platform{runtime.GOOS, runtime.GOARCH}
	r := released(t, host)
	name := fmt.Sprintf("parley_1.2.3-test_%s_%s", host.os, host.arch)
	files, modes := unpacked(t, filepath.Join(r.out, name+".tar.gz"))
	binary := filepath.Join(t.TempDir(), "tool-worker")
	data := files[name+"/tool-worker"]
	if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if modes[name+"/tool-worker"] != 0o755 || modes[name+"/LICENSE"] != 0o644 || len(files[name+"/README.md"]) == 0 {
		t.Errorf("the archive holds %v", modes)
	}
	if said, err := exec.CommandContext(t.Context(), binary, "--version").Output(); err != nil || !strings.Contains(string(said), "1.2.3-test") {
		t.Errorf("--version prints %q, %v", said, err)
	}
	raw, err := os.ReadFile(filepath.Join(r.out, name+"_tool-worker.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	root := bom.Metadata.Component
	if root.Name != "tool-worker" || root.Version != "1.2.3-test" || (*root.Hashes)[0].Value != hex.EncodeToString(sum[:]) {
		t.Errorf("it is the bill of %+v", root)
	}
	got := map[string]string{}
	for _, c := range *bom.Components {
		hash := ""
		if c.Hashes != nil {
			hash = (*c.Hashes)[0].Value
		}
		got[c.Name+" "+c.Version] = hash
		if !slices.Contains(*(*bom.Dependencies)[0].Dependencies, c.BOMRef) || c.PackageURL != "pkg:golang/"+c.Name+"@"+c.Version {
			t.Errorf("%s is no dependency, or has the address %s", c.BOMRef, c.PackageURL)
		}
	}
	listed, err := exec.CommandContext(t.Context(), "go", "version", "-m", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := 0
	for line := range strings.Lines(string(listed)) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != "dep" {
			continue
		}
		modules++
		want, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f[3], "h1:"))
		if err != nil {
			t.Fatal(err)
		}
		if hash, ok := got[f[1]+" "+f[2]]; !ok || hash != hex.EncodeToString(want) {
			t.Errorf("module %s %s has the hash %q, want %x", f[1], f[2], hash, want)
		}
	}
	if _, ok := got["std "+strings.TrimPrefix(runtime.Version(), "go")]; !ok || modules < 5 || len(got) != modules+1 {
		t.Errorf("%d modules, %d components, the standard library among them: %v", modules, len(got), ok)
	}
}

// TestAReleaseIsTheSameTwice: with checksums of every file.
func TestAReleaseIsTheSameTwice(t *testing.T) {
	t.Parallel()
	host := platform{runtime.GOOS, runtime.GOARCH}
	one, two := released(t, host), released(t, host)
	sums, err := os.ReadFile(filepath.Join(one.out, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(two.out, "SHA256SUMS"))
	if err != nil || string(sums) != string(again) {
		t.Errorf("the files are\n%s and\n%s, %v", sums, again, err)
	}
	entries, err := os.ReadDir(one.out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "SHA256SUMS" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(one.out, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(data), e.Name()); !strings.Contains(string(sums), line) {
			t.Errorf("SHA256SUMS lacks %q", line)
		}
	}
	if len(entries) != 3 {
		t.Errorf("the release has %v", entries)
	}
	if err := one.make(t.Context()); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a release over another one: %v", err)
	}
}

func TestWindowsGetsAZip(t *testing.T) {
	t.Parallel()
	windows := platform{"windows", "amd64"}
	file, data, err := pack("parley_1", windows, map[string]string{windows.binary("parley"): "main.go", "LICENSE": "../../LICENSE"}, time.Unix(1e9, 0))
	if err != nil || file != "parley_1.zip" {
		t.Fatalf("%s, %v", file, err)
	}
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if files, _ := unpacked(t, path); len(files) != 2 || !bytes.Equal(files["parley_1/parley.exe"], want) {
		t.Errorf("the archive holds %d files", len(files))
	}
}

func TestAVersionIsNeeded(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "1.2 -X main.x=y", "../1"} {
		r := &release{version: version, module: "../..", out: t.TempDir()}
		if err := r.make(t.Context()); err == nil || !strings.Contains(err.Error(), "give one such as") {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
