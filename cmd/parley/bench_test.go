package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/openai"
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

func TestBenchMeasuresEveryRowAndLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Setenv("TMPDIR", t.TempDir())
	out, err := benchPrinted(t, "--output", "json", "--conversations", "3", "--rate", "300,max", "--seconds", "0.2", "--turns", "3")
	if err != nil {
		t.Fatal(err)
	}
	var r benchReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var paths []string
	for _, row := range r.Rows {
		paths = append(paths, row.Path)
		if row.EventsPerSecond <= 0 || row.P50MS <= 0 || row.P50MS > row.P99MS || row.P99MS > row.MaxMS || row.EventsPerMessage < 1 {
			t.Errorf("row %+v", row)
		}
	}
	if want := []string{benchParley, benchRaw, benchParley, benchRaw, benchRawReader}; !slices.Equal(paths, want) {
		t.Errorf("rows %v, want %v", paths, want)
	}
	if d := r.Decisions; d == nil || d.Calls != 3 || d.CallP50MS <= 0 || d.AnswerP50MS <= 0 {
		t.Errorf("decisions %+v", d)
	}
	if len(r.Ratios) != 1 || r.Ratios[0].OverRaw <= 0 || len(r.Parts) != 8 {
		t.Errorf("ratios %v, %d parts", r.Ratios, len(r.Parts))
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

func TestBenchRefusesWhatIsOutOfBounds(t *testing.T) {
	for name, args := range map[string][]string{
		"no conversation at all":        {"--conversations", "0"},
		"more conversations than 5000":  {"--conversations", "5001"},
		"a rate that is no number":      {"--rate", "fast"},
		"a rate of nothing":             {"--rate", "0"},
		"a row that never ends":         {"--seconds", "1e9"},
		"a row of no length":            {"--seconds", "NaN"},
		"turns without end":             {"--turns", "10001"},
		"too many rows":                 {"--conversations", strings.Repeat("1,", 20) + "1", "--rate", "1,max"},
		"an output that does not exist": {"--output", "xml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := benchPrinted(t, args...)
			var code *exitError
			if !errors.As(err, &code) || code.code != exitUsage {
				t.Errorf("error %v, want wrong usage", err)
			}
		})
	}
}

func TestBenchBodyIsAnAnswerThatTheDecoderReads(t *testing.T) {
	row := newBenchRow(time.Now(), 0)
	pace := newBenchPace(row, 0, 0, 200)
	close(row.begin)
	var texts int
	var end *events.GenerationEnded
	for e, err := range openai.Decode(iotest.OneByteReader(&benchBody{ctx: t.Context(), pace: pace})) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *events.TextChunk:
			if at, err := benchRead(e.Text); err != nil || at < 0 || at > row.now() {
				t.Fatalf("time %d in %q: %v", at, e.Text, err)
			}
			if texts++; texts == 200 {
				close(row.over)
			}
		case *events.GenerationEnded:
			end = e
		}
	}
	if texts != 200 || end == nil || end.Error != nil {
		t.Errorf("%d texts, end %+v", texts, end)
	}
}

func TestBenchTextPrintsBudgetsAndRatios(t *testing.T) {
	r := benchReport{Rows: []benchResult{{Path: benchParley, Conversations: 1000, Asked: 5000, P50MS: 0.1, P99MS: 2}},
		Ratios: []benchRatio{{Conversations: 1000, OverRaw: 1.5, OverReader: 2}},
		Parts:  []benchPart{{Name: "encode", Alone: 1}, {Name: "decode a frame", Within: true, Alone: 9}}}
	var out bytes.Buffer
	r.printRest(&out)
	for _, want := range []string{"missed  1000 conversations, 5,000 events/s", "parley/raw 1.50", "met     1000 conversations: 1.50", "sum             1.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
