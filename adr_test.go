package parley_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDecisionRecordsHaveOneFormAndAreListed: docs/adr/README.md lists each record
// by number and title, and each has the same sections in the same order.
func TestDecisionRecordsHaveOneFormAndAreListed(t *testing.T) {
	files, err := filepath.Glob("docs/adr/0*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	var want []string
	title, head := regexp.MustCompile(`\A# (\d+)\. (.+)\n`), regexp.MustCompile(`(?m)^Date: \d{4}-\d\d-\d\d\. Status: \S.*\.$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		m := title.FindStringSubmatch(string(text))
		if m == nil || !strings.HasPrefix(name, fmt.Sprintf("%04s-", m[1])) {
			t.Errorf("%s must begin with its number and title, such as \"# 7. Leases\"", file)
			continue
		}
		if !head.Match(text) {
			t.Errorf("%s lacks the line with its date and status", file)
		}
		var sections []string
		for _, h := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(text), -1) {
			sections = append(sections, h[1])
		}
		if form := []string{"Context", "Decision", "Alternatives", "Consequences"}; !slices.Equal(sections, form) {
			t.Errorf("%s has the sections %q, not %q", file, sections, form)
		}
		want = append(want, fmt.Sprintf("| %s | [%s](%s) |", m[1], m[2], name))
	}
	index, err := os.ReadFile("docs/adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`(?m)^\| \d.*$`).FindAllString(string(index), -1)
	if !slices.Equal(got, want) {
		t.Errorf("docs/adr/README.md must list\n%s\nand lists\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}
