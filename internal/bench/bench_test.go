package bench

import (
	"bytes"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/openai"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

func TestRunMeasuresEveryRowAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	o := Options{Conversations: []int{3}, Rates: []string{"300", "max"}, Seconds: 0.2, Turns: 3, Raw: true, Part: 20 * time.Millisecond}
	r, err := o.Run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left (%v)", len(left), err)
	}
	var paths []string
	seen := 0
	for _, row := range r.Rows {
		paths = append(paths, row.Path)
		if row.EventsPerSecond == 0 {
			continue // on a busy machine nothing arrived in the window
		}
		seen++
		if row.P50MS <= 0 || row.P50MS > row.P99MS || row.P99MS > row.MaxMS || row.EventsPerMessage < 1 {
			t.Errorf("row %+v", row)
		}
	}
	if seen == 0 {
		t.Error("no row measured anything")
	}
	if want := []string{pathParley, pathRaw, pathParley, pathRaw, pathRawReader}; !slices.Equal(paths, want) {
		t.Errorf("rows %v, want %v", paths, want)
	}
	if d := r.Decisions; d == nil || d.Calls != 3 || d.CallP50MS <= 0 || d.AnswerP50MS <= 0 {
		t.Errorf("decisions %+v", d)
	}
	if len(r.Ratios) != 1 || len(r.Parts) != 8 {
		t.Errorf("ratios %v, %d parts", r.Ratios, len(r.Parts))
	}
}

func TestOptionsOutOfBoundsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no conversation at all":       func(o *Options) { o.Conversations = []int{0} },
		"no row":                       func(o *Options) { o.Conversations = nil },
		"more conversations than 5000": func(o *Options) { o.Conversations = []int{5001} },
		"a rate that is no number":     func(o *Options) { o.Rates = []string{"fast"} },
		"a rate of nothing":            func(o *Options) { o.Rates = []string{"0"} },
		"more events than a million":   func(o *Options) { o.Rates = []string{"1000001"} },
		"a row that never ends":        func(o *Options) { o.Seconds = 1e9 },
		"a row of no length":           func(o *Options) { o.Seconds = math.NaN() },
		"turns without end":            func(o *Options) { o.Turns = 10_001 },
		"a number of turns below zero": func(o *Options) { o.Turns = -1 },
		"more than 40 rows":            func(o *Options) { o.Conversations, o.Rates = make([]int, 21), []string{"1", "max"} },
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Conversations: []int{1}, Rates: []string{"max"}, Seconds: 1}
			if err := o.Check(); err != nil {
				t.Fatal(err)
			}
			change(&o)
			if r, err := o.Run(t.Context(), io.Discard); err == nil || r != nil {
				t.Errorf("report %v, error %v", r, err)
			}
		})
	}
}

func TestTheBodyIsAnAnswerThatTheDecoderReads(t *testing.T) {
	row := newRowRun(time.Now(), 0)
	pace := newPacer(row, 0, 0, 200)
	close(row.begin)
	var texts int
	var end *events.GenerationEnded
	for e, err := range openai.Decode(iotest.OneByteReader(&answerBody{ctx: t.Context(), pace: pace})) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *events.TextChunk:
			if at, err := textTime(e.Text); err != nil || at < 0 || at > row.now() {
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

func TestTheTextHoldsBudgetsAndRatios(t *testing.T) {
	r := Report{Rows: []Result{{Path: pathParley, Conversations: 1000, TargetRate: 5000, P50MS: 0.1, P99MS: 2}},
		Ratios: []Ratio{{Conversations: 1000, OverRaw: 1.5, OverReader: 2}},
		Parts:  []Part{{Name: "encode", Alone: 1}, {Name: "decode a frame", Within: true, Alone: 9}}}
	var out bytes.Buffer
	r.printRest(&out)
	for _, want := range []string{"missed  1000 conversations, 5,000 events/s", "parley/raw 1.50", "met     1000 conversations: 1.50", "sum             1.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
