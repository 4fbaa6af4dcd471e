package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// decoded holds, for each recording, folder/name, a tab, and the digest of the
// decoded events, to detect a change of a decoder that changes an event. "go
// run ./internal/llm/recording/table -write" writes the file.
//
//go:embed decoded.tsv
var decoded string

// decodedFile is the path of decoded, relative to the module's root.
const decodedFile = "internal/llm/recording/table/decoded.tsv"

// digests returns the digests of decoded events by recording.
type digests map[string]string

func parseDecoded(text string) (digests, error) {
	all := digests{}
	for line := range strings.Lines(text) {
		name, digest, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			return nil, fmt.Errorf("decoded.tsv: %q is not folder/name, a tab and a digest", line)
		}
		all[name] = digest
	}
	return all, nil
}

func (d digests) String() string {
	var lines []string
	for name, digest := range d {
		lines = append(lines, name+"\t"+digest+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// changed lists the recordings that decode differently than before, are new, or
// are missing.
func (d digests) changed(before digests) []string {
	var all []string
	for name, digest := range d {
		if before[name] != digest {
			all = append(all, name)
		}
	}
	for name := range before {
		if d[name] == "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
