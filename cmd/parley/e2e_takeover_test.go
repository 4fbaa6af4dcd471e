package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestE2ETwoTerminalsOnOneDataDirectory: the process that holds the server ends in
// the middle of a turn of another terminal. That one runs the server and the roles
// from then on, and its turn continues; a third one follows.
func TestE2ETwoTerminalsOnOneDataDirectory(t *testing.T) {
	t.Parallel()
	p := build(t)
	script := strings.ReplaceAll(strings.ReplaceAll(scriptOfE2E, "SLOW", slowAnswer()), "pace: 25", "pace: 60")
	if err := os.WriteFile(filepath.Join(p.dir, "script.yaml"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--script", filepath.Join(p.dir, "script.yaml"), "--data"}
	for name, end := range map[string]func(*process){"is stopped": (*process).stop, "is killed": (*process).kill} {
		t.Run("the holder "+name, func(t *testing.T) {
			dir := t.TempDir()
			holder := p.command(append([]string{"up", "--port", "0"}, append(args, dir)...)...)
			holder.await(1, "Next, in another terminal")
			first := p.command(append([]string{"ask", "--json", "slowly please"}, append(args, dir)...)...)
			first.await(4, `"type":"TextChunk"`)
			second := p.command(append([]string{"ask", "--json", "slowly, too"}, append(args, dir)...)...)
			second.await(4, `"type":"TextChunk"`)
			end(holder)
			for _, asked := range []*process{first, second} {
				if out := asked.finish(); strings.Count(out, `"outcome":"completed"`) != 1 {
					t.Errorf("the turn did not end well:\n%s", out)
				}
			}
			// Nobody is left: the next one starts on the same data.
			last := p.command(append([]string{"ask", "-q", "What is 6 * 7?"}, append(args, dir)...)...)
			if out := last.finish(); !strings.Contains(out, "It is 42.") {
				t.Errorf("%s", out)
			}
		})
	}
}

// TestE2ETerminalsThatStartTogether: of two that find no server one starts it, and
// the other one joins.
func TestE2ETerminalsThatStartTogether(t *testing.T) {
	t.Parallel()
	p := build(t)
	dir := t.TempDir()
	var all []*process
	for range 4 {
		all = append(all, p.command("ask", "-q", "--data", dir, "What is 6 * 7?"))
	}
	for _, asked := range all {
		if out := asked.finish(); !strings.Contains(out, "6 * 7 is 42.") {
			t.Errorf("%s%s", out, asked.errs.String())
		}
	}
}
