package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandLines are the calls of parley in a page: in code blocks, and in the
// text between backticks.
func commandLines(page string) []string {
	var all []string
	for _, m := range regexp.MustCompile("`((?:go run \\./cmd/)?parley [^`]*)`").FindAllStringSubmatch(page, -1) {
		all = append(all, m[1])
	}
	block := false
	for line := range strings.Lines(page) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			block = !block
		case block && regexp.MustCompile(`^(\w+=\S+ )*(go run \./cmd/|docker compose run --rm )?parley [a-z]`).MatchString(line):
			all = append(all, line)
		}
	}
	return all
}

// unknownIn returns the first word of a call that is no command or flag.
func unknownIn(root *cobra.Command, line string) string {
	_, call, _ := strings.Cut(line, "parley ")
	if strings.HasPrefix(call, "input 1") {
		return "" // the beginning of what a signature covers
	}
	call, _, _ = strings.Cut(call, " #")
	call = regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(call, "TEXT")
	call, _, _ = strings.Cut(call, " | ")
	words := slices.DeleteFunc(strings.Fields(strings.TrimRight(call, " &")), func(w string) bool { return strings.Contains(w, "|") })
	cmd, rest, err := root.Find(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "-") }))
	if err != nil || cmd == root && len(rest) > 0 {
		return strings.Join(words, " ")
	}
	for _, w := range words {
		name, _, _ := strings.Cut(strings.TrimRight(w, ".,;:)]…"), "=")
		long, isLong := strings.CutPrefix(name, "--")
		short, isShort := strings.CutPrefix(name, "-")
		switch {
		case isLong && long != "" && long != "help" && cmd.Flags().Lookup(long) == nil && cmd.InheritedFlags().Lookup(long) == nil:
			return w
		case !isLong && isShort && len(short) == 1 && short != "h" && cmd.Flags().ShorthandLookup(short) == nil && cmd.InheritedFlags().ShorthandLookup(short) == nil:
			return w
		}
	}
	return ""
}

func TestThePagesNameCommandsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&app{}).root()
	root.InitDefaultCompletionCmd()
	n := 0
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(text)) {
			n++
			if what := unknownIn(root, line); what != "" {
				t.Errorf("%s: there is no %q in %q", page, what, line)
			}
		}
	}
	if n < 50 {
		t.Errorf("%d calls of parley are in the pages", n)
	}
}
