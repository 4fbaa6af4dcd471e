package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/bench"
)

// benchPrinted runs the command with arguments and returns what it prints.
func benchPrinted(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := benchCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestBenchPrintsJSON(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Setenv("TMPDIR", t.TempDir())
	out, err := benchPrinted(t, "--output", "json", "--short", "--conversations", "1", "--rate", "100", "--seconds", "0.1", "--turns", "0")
	if err != nil {
		t.Fatal(err)
	}
	var r bench.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(r.Rows) != 2 || len(r.Parts) != 8 || r.Decisions != nil {
		t.Errorf("report %+v, want one row with Parley and one without, all parts and no decisions", r)
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

func TestBenchShortensWhatNoFlagSets(t *testing.T) {
	o := benchmark{Options: bench.Options{Conversations: []int{7}, Rates: []string{"9"}, Seconds: 3, Turns: 2}}
	o.shorten(func(flag string) bool { return flag == "conversations" || flag == "turns" })
	if o.Conversations[0] != 7 || o.Turns != 2 || o.Seconds != 0.5 || len(o.Rates) != 2 {
		t.Errorf("options %+v", o)
	}
}

func TestBenchRefusesWhatIsOutOfBounds(t *testing.T) {
	for name, args := range map[string][]string{
		"no conversation at all":        {"--conversations", "0"},
		"a rate that is no number":      {"--rate", "fast"},
		"a row of no length":            {"--seconds", "NaN"},
		"an output that does not exist": {"--output", "xml"},
		"a report that does not exist":  {"--against", "none.json"},
		"a comparison in JSON":          {"--against", "none.json", "--output", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := benchPrinted(t, args...); codeOf(err) != exitUsage {
				t.Errorf("error %v, want wrong usage", err)
			}
		})
	}
}

func TestBenchComparesWithAnEarlierReport(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	row := []string{"--short", "--conversations", "1", "--rate", "max", "--seconds", "0.2", "--turns", "0"}
	for name, c := range map[string]struct {
		ratio float64
		fails string
		says  string
	}{
		"what is kept":                     {0.001, "", "kept    1 conversations, events per second at most"},
		"what is lost in each of its runs": {1000, "in each of 3 runs", "lost    1 conversations, events per second at most"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "before.json")
			raw, err := json.Marshal(bench.Report{Ratios: []bench.Ratio{{Conversations: 1, OverRaw: c.ratio}}})
			if err == nil {
				err = os.WriteFile(path, raw, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := benchPrinted(t, append(row, "--against", path)...)
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) || !strings.Contains(out, c.says) {
				t.Errorf("error %v, want %q; it prints\n%s", err, c.fails, out)
			}
		})
	}
}
