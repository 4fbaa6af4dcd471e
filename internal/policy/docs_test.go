package policy

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// TestWhatTheDocumentationShowsWorks reads docs/policy.md: each file of defaults
// loads, and each condition in the table of examples compiles.
func TestWhatTheDocumentationShowsWorks(t *testing.T) {
	raw, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) < 5 {
		t.Fatalf("only %d files are shown", len(blocks))
	}
	for _, b := range blocks {
		if _, err := parse([]byte(b[1])); err != nil {
			t.Errorf("%v:\n%s", err, b[1])
		}
	}
	_, table, _ := strings.Cut(string(raw), "| to match | condition |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := regexp.MustCompile("(?m)`([^`]+)` \\|$").FindAllStringSubmatch(table, -1)
	if len(rows) < 25 {
		t.Fatalf("only %d conditions are shown", len(rows))
	}
	var j Judge
	for _, r := range rows {
		when := strings.ReplaceAll(r[1], `\|`, "|")
		if err := j.Check(rules(events.Rule{Action: "deny", When: when})); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}
