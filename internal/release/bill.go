package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// billOf returns the bill of materials of a binary, CycloneDX in JSON. It is made
// from what the linker wrote into the binary, so it names what is inside: the
// modules with versions and hashes, and Go's standard library.
func billOf(file, command, version string, p platform, when time.Time) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceOID, sum[:]).String()
	root := cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: command, Version: version,
		BOMRef: "pkg:golang/" + info.Main.Path + "@" + version + "#cmd/" + command, PackageURL: "pkg:golang/" + info.Main.Path + "@" + version + "#cmd/" + command,
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	properties := []cdx.Property{{Name: "go:platform", Value: p.os + "/" + p.arch}, {Name: "go:version", Value: info.GoVersion}}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
			properties = append(properties, cdx.Property{Name: "go:" + s.Key, Value: s.Value})
		}
	}
	root.Properties = &properties
	bom.Metadata = &cdx.Metadata{Timestamp: when.Format(time.RFC3339), Component: &root}
	std := strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")
	components := []cdx.Component{{Type: cdx.ComponentTypeLibrary, Name: "std", Version: std, BOMRef: "pkg:golang/std@" + std, PackageURL: "pkg:golang/std@" + std}}
	for _, m := range info.Deps {
		c, err := component(m)
		if err != nil {
			return nil, err
		}
		components = append(components, c)
	}
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &refs}}
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// component returns a module. Its hash is that of go.sum, the SHA-256 of a list of
// its files: https://go.dev/ref/mod#go-sum-files.
func component(m *debug.Module) (cdx.Component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return cdx.Component{}, fmt.Errorf("module %s %s has the sum %q, want h1: and a SHA-256", m.Path, m.Version, m.Sum)
	}
	ref := "pkg:golang/" + m.Path + "@" + m.Version
	return cdx.Component{
		Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, BOMRef: ref, PackageURL: ref,
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}},
		Properties: &[]cdx.Property{{Name: "go:sum", Value: m.Sum}},
	}, nil
}
