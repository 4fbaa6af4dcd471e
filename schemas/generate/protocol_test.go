package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheProtocolNamesEveryValue: docs/protocol.md says what each value of each enum
// means, and what to do with one that it does not have.
func TestTheProtocolNamesEveryValue(t *testing.T) {
	src, err := parse(filepath.Join(root, "internal", "events"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(doc), "\n## Enums\n")
	text, _, closed := strings.Cut(text, "\n## A turn on the wire\n")
	if !ok || !closed {
		t.Fatal("docs/protocol.md has no section Enums before A turn on the wire")
	}
	n := 0
	for name, values := range src.values {
		if name == "Channel" {
			continue // a part of subjects
		}
		for _, v := range values {
			if n++; v.text != "" && !strings.Contains(text, "`"+v.text+"`") {
				t.Errorf("docs/protocol.md does not say what %s %q means", name, v.text)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d values were found", n)
	}
}
