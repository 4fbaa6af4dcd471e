package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/bench/meter"
	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	if os.Getenv("PARLEY_BENCH_PROCESS") != "" { // a process of TestProcessesMeasureEveryRow
		if err := Child(context.Background(), os.Stdin, os.Stdout, standIn()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

func TestRunMeasuresEveryRowAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	o := Options{Conversations: []int{3}, Rates: []string{"300", "max"}, Seconds: 0.2, Turns: 3, Busy: 1000, Raw: true, Part: 20 * time.Millisecond}
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

func TestProcessesMeasureEveryRow(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("PARLEY_BENCH_PROCESS", "1")
	o := Options{Conversations: []int{2}, Rates: []string{"200"}, Seconds: 0.5, Raw: true, Viewers: 3, Processes: []string{os.Args[0]},
		Peer: standIn(), Stall: true, CatchUp: []int{30}}
	var text bytes.Buffer
	r, err := o.Run(t.Context(), &text)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left (%v)", len(left), err)
	}
	var paths []string
	for _, row := range r.Rows {
		paths = append(paths, row.Path)
		if row.EventsPerSecond == 0 {
			continue // on a busy machine nothing arrived in the window
		}
		if row.Viewers != 3 || row.P50MS <= 0 || row.P50MS > row.P99MS || row.CPUMicros <= 0 || len(row.CPUOf) != 3 {
			t.Errorf("row %+v", row)
		}
	}
	want := []string{pathParley, pathRaw, "peer"}
	if !slices.Equal(paths, want) {
		t.Errorf("rows %v, want %v", paths, want)
	}
	paths = nil
	for _, one := range r.CatchUps {
		if paths = append(paths, one.Path); one.Events != 30 || one.P50MS <= 0 || one.P50MS > one.MaxMS {
			t.Errorf("catching up %+v", one)
		}
	}
	if !slices.Equal(paths, want) {
		t.Errorf("catching up %v, want %v", paths, want)
	}
	if !strings.Contains(text.String(), "3 viewers each; server ") {
		t.Errorf("it printed:\n%s", &text)
	}
}

// standIn is a peer: another server of our own, without a deployment's processes.
func standIn() *Peer {
	log := slog.New(slog.DiscardHandler)
	return &Peer{
		Name: "peer",
		Serve: func(_ context.Context, dir string) (*PeerServer, error) {
			server, err := broker.Start(broker.Config{Dir: dir, Log: log})
			if err != nil {
				return nil, err
			}
			return &PeerServer{URL: server.URL(), Stop: server.Stop, CPU: func() (time.Duration, error) { return meter.CPU(), nil }}, nil
		},
		Open: func(ctx context.Context, url string) (wire.Wire, error) {
			b, err := bus.Connect(ctx, bus.Config{Name: "peer", Log: log, URL: url}, &topology.Plan{Shards: 1})
			if err != nil {
				return nil, err
			}
			w, err := plain(b)
			return connected{w, b}, err
		},
	}
}

// connected closes its connection, too.
type connected struct {
	*wire.JetStream
	bus *bus.Bus
}

func (c connected) Close() error {
	err := c.JetStream.Close()
	c.bus.Close()
	return err
}

func TestAViewerThatStoodStillMustHaveSeenAll(t *testing.T) {
	first, last := &viewerSamples{events: 5}, &viewerSamples{events: 4, stalls: true}
	if err := checkStalled([]*viewerSamples{first, last}); err == nil {
		t.Error("one event less is no error")
	}
	last.events++
	if err := checkStalled([]*viewerSamples{first, last}); err != nil {
		t.Error(err)
	}
}

func TestAProcessThatIsToldNonsenseSaysSo(t *testing.T) {
	var out bytes.Buffer
	if err := Child(t.Context(), strings.NewReader(`{"do":"dance"}`+"\n"+`{"do":"usage"}`), &out, nil); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(out.String(), "\n"); !strings.Contains(lines[0], `there is no order \"dance\"`) || !strings.Contains(lines[1], `"cpu":`) {
		t.Errorf("it answered %q", lines)
	}
	if err := Child(t.Context(), strings.NewReader("nonsense"), &out, nil); err == nil {
		t.Error("nonsense is no error")
	}
	if _, err := (Options{Conversations: []int{1}, Rates: []string{"5"}, Seconds: 1, Processes: []string{"/does/not/exist"}}).Run(t.Context(), io.Discard); err == nil {
		t.Error("a program that does not exist is no error")
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
		"viewers without processes":    func(o *Options) { o.Viewers = 2 },
		"more viewers than 10000":      func(o *Options) { o.Viewers, o.Rates, o.Processes = 10_001, []string{"1"}, []string{"x"} },
		"a peer without processes":     func(o *Options) { o.Peer = standIn() },
		"one viewer that stalls":       func(o *Options) { o.Stall, o.Rates, o.Processes = true, []string{"1"}, []string{"x"} },
		"catching up on nothing": func(o *Options) {
			o.CatchUp, o.Rates, o.Processes = []int{0}, []string{"1"}, []string{"x"}
		},
		"no limit, in processes": func(o *Options) { o.Processes = []string{"x"} },
		"more than 40 rows":      func(o *Options) { o.Conversations, o.Rates = make([]int, 21), []string{"1", "max"} },
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
