package daemon_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/sealed"
	"github.com/parleybus/parley/internal/tool"
)

// curious elicits twice: yes or no, then a number.
type curious struct{}

func (curious) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "curious", Effect: events.EffectPure, TimeoutMS: 400}
}

func (curious) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	sure, err := in.Ask(ctx, tool.Question{Message: "sure?"})
	if err != nil {
		return tool.Result{}, err
	}
	if sure.Declined {
		return tool.Result{Content: "then not"}, nil
	}
	n, err := in.Ask(ctx, tool.Question{Message: "how many?", Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)})
	if err != nil {
		return tool.Result{}, err
	}
	return tool.Result{Content: fmt.Sprintf("told %s, declined %t", n.Content, n.Declined)}, nil
}

// TestAToolElicitsDuringItsCall waits longer than the tool may run: a person's
// time does not count towards the tool's timeout.
func TestAToolElicitsDuringItsCall(t *testing.T) {
	for name, c := range map[string]struct {
		first events.Ruling
		want  string
	}{
		"and continues with the answer": {events.RulingApprove, `told {"n":3}, declined false`},
		"and is declined":               {events.RulingReject, "then not"},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, scriptFile(t, callsScript("curious", `{}`)), registry(t, curious{}))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			conversation := newID(t)
			d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
			v := d.view(ctx, conversation)
			answer := func(r events.Ruling, content string) {
				var paused *events.Paused
				v.until("the question", func(e events.Event) (ok bool) { paused, ok = e.(*events.Paused); return ok })
				a := paused.Awaiting[0]
				if a.For != events.WaitAnswer || a.Reason == "" {
					t.Fatalf("%+v", a)
				}
				<-time.After(500 * time.Millisecond) // longer than the tool may run
				d.sendNew(conversation, func(id string) events.Event {
					return &events.Verdict{ID: id, Verdict: r, Calls: []events.CallVerdict{{Call: a.Call, Digest: a.Digest, Content: content}}}
				})
			}
			answer(c.first, "")
			if c.first == events.RulingApprove {
				answer(events.RulingAnswer, `{"n":3}`)
			}
			got := v.result()
			if got.Status != events.StatusOK || got.Content != c.want {
				t.Errorf("%s: %s", got.Status, got.Content)
			}
			v.ended()
		})
	}
}

// TestAnElicitationIsRepeatedAfterItsWorkerDied: an answer to the first
// elicitation would be ignored; the second worker elicits again.
func TestAnElicitationIsRepeatedAfterItsWorkerDied(t *testing.T) {
	f := newFleet(t, callsScript("curious", `{}`), 2, curious{})
	_, kill := f.worker("first")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	conversation := newID(t)
	f.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := f.view(ctx, conversation)
	first := v.question("the first question")
	kill()
	f.worker("second")
	second := v.question("the question of the second worker")
	if second.Question == first.Question {
		t.Fatal("the second worker did not elicit again")
	}
	f.sendNew(conversation, func(id string) events.Event {
		return &events.Verdict{ID: id, Verdict: events.RulingReject, Calls: []events.CallVerdict{{Call: second.Call, Digest: second.Digest}}}
	})
	got := v.result()
	if got.Status != events.StatusOK || got.Content != "then not" {
		t.Errorf("%s: %s", got.Status, got.Content)
	}
	v.ended()
}

// keeper asks for a password, and repeats it in all that it says.
type keeper struct{}

func (keeper) Spec() events.ToolSpec {
	return events.ToolSpec{Name: "keeper", Effect: events.EffectPure}
}

func (keeper) Run(ctx context.Context, in tool.Input) (tool.Result, error) {
	got, err := in.Ask(ctx, tool.Question{Message: "log in", Server: "vault", Schema: json.RawMessage(`{"type":"object","properties":{"user":{"type":"string"},"password":{"type":"string","minLength":4}},"required":["user","password"]}`)})
	if err != nil {
		return tool.Result{}, err
	}
	in.Print("got %s\n", got.Content)
	return tool.Result{Content: fmt.Sprintf("told %s", got.Content), Attachments: []tool.Attachment{{Name: "note", MIME: "text/plain", Data: got.Content}}}, nil
}

const password = "correct horse \"battery\""

// secretAnswer is a whole answer with the password.
func secretAnswer(t *testing.T) string {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"user": "ann", "password": password})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// listens collects all that is published on the bus from now on: what every stream
// stores comes from there.
func (d *deployment) listens() (all func() string) {
	d.t.Helper()
	nc, _ := d.Raw()
	var mu sync.Mutex
	var heard bytes.Buffer
	sub, err := nc.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		heard.WriteString(m.Subject + " ")
		heard.Write(m.Data)
		heard.WriteByte('\n')
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return heard.String()
	}
}

// question waits for the next question of a tool.
func (v *viewer) question(what string) (a events.Awaited) {
	v.until(what, func(e events.Event) bool {
		p, ok := e.(*events.Paused)
		if ok {
			a = p.Awaiting[0]
		}
		return ok
	})
	return a
}

// result waits for the result of a call.
func (v *viewer) result() (result *events.ToolResult) {
	v.until("the result", func(e events.Event) (ok bool) { result, ok = e.(*events.ToolResult); return ok })
	return result
}

// ended waits for the end of the turn.
func (v *viewer) ended() {
	v.until("the end", func(e events.Event) bool { _, ok := e.(*events.TurnEnded); return ok })
}

// answer gives an answer to what a tool asks, and returns what became of it.
func (d *deployment) answer(v *viewer, conversation string, call events.CallVerdict) (answer events.CallAnswer) {
	id := d.sendNew(conversation, func(id string) events.Event {
		return &events.Verdict{ID: id, Verdict: events.RulingAnswer, Calls: []events.CallVerdict{call}}
	})
	v.until("the answer to the verdict", func(e events.Event) bool {
		a, ok := e.(*events.InputAnswered)
		if ok && a.Input == id {
			answer = a.Calls[0]
		}
		return ok && a.Input == id
	})
	return answer
}

// sealedFor seals an answer for the worker that asks, as any client does.
func sealedFor(t *testing.T, a events.Awaited, answer string) events.CallVerdict {
	t.Helper()
	var q struct{ Key string }
	if err := json.Unmarshal(a.Arguments, &q); err != nil || q.Key == "" {
		t.Fatalf("no key in %s: %v", a.Arguments, err)
	}
	box, err := sealed.Seal(q.Key, []byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	return events.CallVerdict{Call: a.Call, Digest: a.Digest, Sealed: box}
}

// TestASecretAnswerIsNowhereInClearText: the tool gets the password, and repeats it
// in its output, its result and a file; nothing of it is published, in no stream.
func TestASecretAnswerIsNowhereInClearText(t *testing.T) {
	d := start(t, scriptFile(t, callsScript("keeper", `{}`)), registry(t, keeper{}))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	heard := d.listens()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := d.view(ctx, conversation)
	a := v.question("the question")
	var q struct {
		Server string
		Secret []string
	}
	if err := json.Unmarshal(a.Arguments, &q); err != nil || q.Server != "vault" || !slices.Equal(q.Secret, []string{"password"}) {
		t.Errorf("%s: %v", a.Arguments, err)
	}
	if got := d.answer(v, conversation, sealedFor(t, a, secretAnswer(t))); got.Answer != events.AnswerAccepted {
		t.Fatalf("%+v", got)
	}
	result := v.result()
	if want := `told {"password":"[secret]","user":"ann"}`; result.Status != events.StatusOK || result.Content != want || len(result.Attachments) != 1 {
		t.Errorf("%s: %s, want %s; %d files", result.Status, result.Content, want, len(result.Attachments))
	}
	v.ended()
	for _, part := range []string{"correct horse", base64.StdEncoding.EncodeToString([]byte(secretAnswer(t)))} {
		if all := heard(); strings.Contains(all, part) || !strings.Contains(all, `"sealed":"`) || !strings.Contains(all, "[secret]") {
			t.Errorf("%q is in clear text on the bus, or the test did not listen:\n%.4000s", part, all)
		}
	}
}

// TestASecretInClearTextIsRefused: and so is what the worker cannot use; the tool
// still waits.
func TestASecretInClearTextIsRefused(t *testing.T) {
	d := start(t, scriptFile(t, callsScript("keeper", `{}`)), registry(t, keeper{}))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	conversation := newID(t)
	d.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := d.view(ctx, conversation)
	a := v.question("the question")
	for _, tc := range []struct {
		call events.CallVerdict
		want events.Answer
	}{
		{events.CallVerdict{Content: secretAnswer(t)}, events.AnswerSecretInClear},
		{events.CallVerdict{Content: secretAnswer(t), Sealed: sealedFor(t, a, "{}").Sealed}, events.AnswerSecretInClear},
		{events.CallVerdict{Sealed: "hunter2"}, events.AnswerInvalid},
		{events.CallVerdict{}, events.AnswerInvalid},
	} {
		tc.call.Call, tc.call.Digest = a.Call, a.Digest
		if got := d.answer(v, conversation, tc.call); got.Answer != tc.want || got.Reason == "" {
			t.Errorf("%+v is answered %+v, want %s", tc.call, got, tc.want)
		}
	}
	// Only the worker can open and validate an answer: it asks again, with a new key.
	if got := d.answer(v, conversation, sealedFor(t, a, `{"user":"ann","password":"x"}`)); got.Answer != events.AnswerAccepted {
		t.Fatalf("%+v", got)
	}
	again := v.question("the question again")
	if again.Digest == a.Digest || !strings.Contains(again.Reason, "did not fit the fields") || strings.Contains(string(again.Arguments), `"x"`) {
		t.Errorf("asked again as %s", again.Arguments)
	}
	if got := d.answer(v, conversation, sealedFor(t, a, secretAnswer(t))); got.Answer != events.AnswerArgumentsChanged {
		t.Errorf("an answer to the first question is answered %+v", got)
	}
	if got := d.answer(v, conversation, sealedFor(t, again, secretAnswer(t))); got.Answer != events.AnswerAccepted {
		t.Fatalf("%+v", got)
	}
	v.ended()
}

// TestASecretIsAskedForAgainAfterItsWorkerDied: the key died with the worker.
func TestASecretIsAskedForAgainAfterItsWorkerDied(t *testing.T) {
	f := newFleet(t, callsScript("keeper", `{}`), 2, keeper{})
	_, kill := f.worker("first")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	conversation := newID(t)
	f.sendNew(conversation, func(id string) events.Event { return &events.UserMessage{ID: id, Text: "go"} })
	v := f.view(ctx, conversation)
	first := v.question("the first question")
	kill()
	f.worker("second")
	second := v.question("the question of the second worker")
	if got := f.answer(v, conversation, sealedFor(t, first, secretAnswer(t))); got.Answer != events.AnswerArgumentsChanged {
		t.Errorf("an answer for the dead worker is answered %+v", got)
	}
	if got := f.answer(v, conversation, sealedFor(t, second, secretAnswer(t))); got.Answer != events.AnswerAccepted {
		t.Fatalf("%+v", got)
	}
	result := v.result()
	if result.Status != events.StatusOK || !strings.Contains(result.Content, "[secret]") {
		t.Errorf("%s: %s", result.Status, result.Content)
	}
	v.ended()
}
