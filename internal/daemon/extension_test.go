package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// TestWhatAppsWriteForWorkersReachesThem: fields beginning with x_ are in the jobs of a
// generation and of its calls, also when another orchestrator publishes them that has
// only the log.
func TestWhatAppsWriteForWorkersReachesThem(t *testing.T) {
	d := serve(t)
	stop := d.owner("one")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, js := d.Raw()
	jobs := d.queueOf(ctx, js, "x")
	id, message := newID(t), newID(t)
	publish := func(payload string) {
		t.Helper()
		if _, err := js.Publish(ctx, topology.At(d.Shards(), id, events.ChannelIn).Subject(topology.Conv), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	publish(`{"type":"Settings","id":"` + newID(t) + `","route":"x/m","x_tenant":{"id":1.50},"parameters":{"x_mode":"fast"}}`)
	publish(`{"type":"UserMessage","id":"` + message + `","text":"go","x_reply_to":"mail"}`)
	next := func() string {
		t.Helper()
		m, err := jobs.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		var job struct{ Extensions json.RawMessage }
		if err := json.Unmarshal(m.Data(), &job); err != nil {
			t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
		return string(job.Extensions)
	}
	want := `{"settings":{"x_tenant":{"id":1.50}},"parameters":{"x_mode":"fast"},"messages":{"` + message + `":{"x_reply_to":"mail"}}}`
	if got := next(); got != want {
		t.Errorf("the job has %s, want %s", got, want)
	}
	stop()
	subject, err := topology.GenerationJob("x/m", d.generation(ctx, id))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Jobs().Drop(ctx, subject); err != nil { // the queue has lost it
		t.Fatal(err)
	}
	d.owner("two")
	if got := next(); got != want {
		t.Errorf("the job that is published again has %s, want %s", got, want)
	}
}

// generation waits for the open generation of a conversation.
func (d *deployment) generation(ctx context.Context, id string) string {
	d.t.Helper()
	for m, err := range d.Conversation(id).Attach(ctx, bus.From{}) {
		if err != nil {
			d.t.Fatal(err)
		}
		for _, l := range m.Lines {
			if made, ok := l.Event.(*events.Decision); ok && made.State.Generation != "" {
				return made.State.Generation
			}
		}
	}
	d.t.Fatal("no generation is requested")
	return ""
}

func TestExtensionsHaveACeiling(t *testing.T) {
	s := play(t, "model: demo\npace: 0\nrules:\n  - {name: one, match: ., steps: [{text: Hello.}]}\n", &events.Settings{})
	long := strings.Repeat("x", 65<<10)
	for kind, fields := range map[string]string{
		"UserMessage": `"text":"go","x_a":"` + long + `"`,
		"Settings":    `"parameters":{"x_a":"` + long + `"}`,
	} {
		id := newID(t)
		s.raw(events.ChannelIn, "", "", fmt.Sprintf(`{"type":%q,"id":%q,%s}`, kind, id, fields))
		if a := s.answerTo(id); a.Answer != events.AnswerInvalid || !strings.Contains(a.Reason, "beginning with x_") {
			t.Errorf("%s is answered %s: %s", kind, a.Answer, a.Reason)
		}
	}
}
