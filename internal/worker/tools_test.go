package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// does is a tool made of a function.
type does struct {
	spec events.ToolSpec
	run  func(ctx context.Context, in tool.Input) (tool.Result, error)
}

func (d does) Spec() events.ToolSpec { return d.spec }

func (d does) Run(ctx context.Context, in tool.Input) (tool.Result, error) { return d.run(ctx, in) }

// answered calls a tool as a person does, without a model.
func (s *stage) answered(spec events.ToolSpec, arguments string) *events.ToolResult {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	r, err := s.Jobs().Call(ctx, bus.Call{Tool: spec, Arguments: json.RawMessage(arguments)})
	s.done(err)
	return r
}

func TestTransientFailuresAreRetriedByTheToolsClass(t *testing.T) {
	for effect, want := range map[events.Effect]int64{events.EffectPure: 6, events.EffectIdempotent: 6, events.EffectOnce: 1} {
		t.Run(string(effect), func(t *testing.T) {
			var runs atomic.Int64
			busy := does{events.ToolSpec{Name: "busy", Effect: effect}, func(context.Context, tool.Input) (tool.Result, error) {
				runs.Add(1)
				return tool.Result{}, tool.Retry(errors.New("come back later"), time.Millisecond)
			}}
			s := newStage(t, topology.PresenceTTL)
			s.tools("tools", busy)
			r := s.answered(busy.spec, `{}`)
			if runs.Load() != want || r.Status != events.StatusFailed || !strings.Contains(r.Content, "come back later") {
				t.Errorf("ran %d times, want %d; %s: %s", runs.Load(), want, r.Status, r.Content)
			}
			_, js := s.Raw()
			dead, err := js.Stream(t.Context(), "DEAD")
			if err != nil {
				t.Fatal(err)
			}
			info, err := dead.Info(t.Context())
			if letters := info.State.Msgs; err != nil || letters > 0 != (want > 1) {
				t.Errorf("%d dead letters, %v", letters, err)
			}
		})
	}
}

func TestEachWayToEndHasItsOwnStatus(t *testing.T) {
	object := json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}`)
	for name, c := range map[string]struct {
		spec      events.ToolSpec
		arguments string
		run       func(ctx context.Context, in tool.Input) (tool.Result, error)
		want      events.Status
		says      string
	}{
		"arguments that do not fit":         {events.ToolSpec{Schema: object}, `{"x":1}`, nil, events.StatusInvalidArguments, "x"},
		"a panic":                           {events.ToolSpec{}, `{}`, func(context.Context, tool.Input) (tool.Result, error) { panic("oh") }, events.StatusCrashed, "oh"},
		"more than the tool may give":       {events.ToolSpec{ResultBytes: 10}, `{}`, gives(tool.Result{Content: "eleven byte"}), events.StatusTooLarge, "11 bytes"},
		"data that does not fit its schema": {events.ToolSpec{Output: object}, `{}`, gives(tool.Result{Structured: json.RawMessage(`{"n":"x"}`)}), events.StatusFailed, "its own schema"},
		"no data where some was promised":   {events.ToolSpec{Output: object}, `{}`, gives(tool.Result{Content: "text"}), events.StatusFailed, "no structured result"},
		"a deadline": {events.ToolSpec{TimeoutMS: 20}, `{}`, func(ctx context.Context, _ tool.Input) (tool.Result, error) {
			<-ctx.Done()
			return tool.Result{}, ctx.Err()
		}, events.StatusTimeout, "did not finish within 20ms"},
		"a status that the tool gives itself": {events.ToolSpec{}, `{}`, func(context.Context, tool.Input) (tool.Result, error) {
			return tool.Result{}, tool.End(events.StatusUnknown, "who knows")
		}, events.StatusUnknown, "who knows"},
		"bytes that are no text": {events.ToolSpec{}, `{}`, gives(tool.Result{Content: "a\xff\x00b"}), events.StatusOK, "a\uFFFD\x00b"},
		"nothing":                {events.ToolSpec{}, `{}`, gives(tool.Result{}), events.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Name = "it"
			s := newStage(t, topology.PresenceTTL)
			s.tools("tools", does{c.spec, c.run})
			if r := s.answered(c.spec, c.arguments); r.Status != c.want || !strings.Contains(r.Content, c.says) {
				t.Errorf("%s: %q", r.Status, r.Content)
			}
		})
	}
}

func gives(r tool.Result) func(context.Context, tool.Input) (tool.Result, error) {
	return func(context.Context, tool.Input) (tool.Result, error) { return r, nil }
}

func TestDataAndFilesComeBesideTheText(t *testing.T) {
	s := newStage(t, topology.PresenceTTL)
	both := does{events.ToolSpec{Name: "both"}, gives(tool.Result{Content: "see", Structured: json.RawMessage(`{"n":1}`), Attachments: []tool.Attachment{{Name: "a.png", MIME: "image/png", Data: []byte("PNG")}}})}
	s.tools("tools", both)
	r := s.answered(both.spec, `{}`)
	if string(r.Structured) != `{"n":1}` || len(r.Attachments) != 1 || r.Attachments[0].MIME != "image/png" {
		t.Fatalf("%+v", r)
	}
	if got, err := s.Objects().Get(t.Context(), r.Attachments[0].Object); err != nil || string(got) != "PNG" {
		t.Errorf("%q %v", got, err)
	}
}

// TestToolsComeAndGoWhileAWorkerRuns changes a registry that is served.
func TestToolsComeAndGoWhileAWorkerRuns(t *testing.T) {
	s := newStage(t, topology.PresenceTTL)
	tools, err := tool.New()
	s.done(err)
	w := &worker.Tool{Bus: s.connect(nil), Name: "tools", Log: s.log(), Tools: tools}
	s.run(w.Run)
	late := does{events.ToolSpec{Name: "late"}, gives(tool.Result{Content: "here"})}
	if err := tools.Set("more", late); err != nil {
		t.Fatal(err)
	}
	if r := s.answered(late.spec, `{}`); r.Content != "here" {
		t.Errorf("%+v", r)
	}
	offered := func() bool {
		offers, err := s.Presence().Offers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(fmt.Sprint(offers), "late")
	}
	if !offered() {
		t.Error("an added tool is not offered")
	}
	if err := tools.Set("more"); err != nil {
		t.Fatal(err)
	}
	s.eventually(soon, func() bool { return !offered() }, "a withdrawn tool is still offered")
}

func TestAToolRunsAsOftenAtOnceAsItAllows(t *testing.T) {
	var running, most atomic.Int64
	shy := does{events.ToolSpec{Name: "shy", Effect: events.EffectPure, Concurrency: 2}, func(ctx context.Context, _ tool.Input) (tool.Result, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for {
			was := most.Load()
			if now <= was || most.CompareAndSwap(was, now) {
				break
			}
		}
		timer := time.NewTimer(30 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return tool.Result{}, nil
	}}
	s := newStage(t, topology.PresenceTTL)
	s.tools("tools", shy)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { s.answered(shy.spec, `{}`) })
	}
	all.Wait()
	if got := most.Load(); got != 2 {
		t.Errorf("%d ran at once", got)
	}
}

func TestAModelReadsOnInAResultThatWasTooLong(t *testing.T) {
	s := newStage(t, topology.PresenceTTL)
	conversation := newID()
	whole := strings.Repeat("0123456789", 40<<10)
	long := does{events.ToolSpec{Name: "long"}, gives(tool.Result{Content: whole})}
	s.tools("tools", long, worker.NewResultReader(s.Bus))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first, err := s.Jobs().Call(ctx, bus.Call{Conversation: conversation, Tool: long.spec, Arguments: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	read := func(conversation string) *events.ToolResult {
		r, err := s.Jobs().Call(ctx, bus.Call{Conversation: conversation, Tool: events.ToolSpec{Name: "read_result", Effect: events.EffectPure},
			Arguments: json.RawMessage(fmt.Sprintf(`{"object":%q,"offset":16384,"limit":10}`, first.Object.Name))})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := read(conversation); r.Status != events.StatusOK || !strings.HasPrefix(r.Content, whole[16384:16394]) || !strings.Contains(r.Content, "continue at offset 16394") {
		t.Errorf("%s: %.200s", r.Status, r.Content)
	}
	if r := read(newID()); r.Status != events.StatusFailed || !strings.Contains(r.Content, "no result of this conversation") {
		t.Errorf("another conversation reads it: %s: %.100s", r.Status, r.Content)
	}
}

func TestALargeArgumentPassesThrough(t *testing.T) {
	s := newStage(t, topology.PresenceTTL)
	length := does{events.ToolSpec{Name: "length", Effect: events.EffectPure}, func(_ context.Context, in tool.Input) (tool.Result, error) {
		return tool.Result{Content: fmt.Sprint(len(in.Arguments))}, nil
	}}
	s.tools("tools", length)
	arguments := `{"text":"` + strings.Repeat("long ", 1<<20) + `"}`
	if r := s.answered(length.spec, arguments); r.Status != events.StatusOK || r.Content != fmt.Sprint(len(arguments)) {
		t.Errorf("%s: %s", r.Status, r.Content)
	}
}
