package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
)

// errCalledOff ends a question whose answer is not needed any more.
var errCalledOff = errors.New("called off")

// run asks one question after the other until ctx ends.
func (d *desk) run(ctx context.Context) {
	for d.asks && ctx.Err() == nil {
		a, asking, ok := d.next(ctx)
		if ok {
			d.prompt(ctx, asking, a)
			continue
		}
		select {
		case <-ctx.Done():
		case <-d.more:
		}
	}
}

// next returns what to ask about now, with the context of the question.
func (d *desk) next(ctx context.Context) (parley.Awaited, context.Context, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.nextToAsk()
	if !ok {
		return a, nil, false
	}
	asking, off := context.WithCancelCause(ctx)
	d.past[matter(a)] = true
	d.asked, d.off = a.Call, off
	return a, asking, true
}

// prompt asks for one decision and publishes it.
func (d *desk) prompt(ctx, asking context.Context, a parley.Awaited) {
	defer d.off(nil)
	d.waitForCalls(asking)
	err := d.screen.show(d.begin)
	d.q.keys.discard()
	var c terminal.Choice
	if err == nil {
		c, err = terminal.Prompt(questioning{d, asking}, func(hidden bool, prompt func() error) (string, error) {
			line, err := d.q.keys.typed(asking, hidden, prompt)
			if asking.Err() == nil {
				d.screen.answered()
			}
			return line, err
		}, errorProfile(), a, func(text string) (string, error) { return d.edit(asking, a, text) })
	}
	d.mu.Lock()
	off := d.asked != a.Call
	d.asked = ""
	d.mu.Unlock()
	switch {
	case off || asking.Err() != nil: // the reason was printed, or the display has ended
	case err != nil:
		d.screen.callOff("parley: nobody can be asked here: " + err.Error())
		d.close("")
	case c.Skip:
		d.putOff(a)
	default:
		d.send(ctx, a, c)
	}
}

// callsTimeout is how long a question waits for running calls, so that their output
// does not interrupt it. Most calls end in that time.
const callsTimeout = 300 * time.Millisecond

func (d *desk) waitForCalls(asking context.Context) {
	late := time.After(callsTimeout)
	for {
		d.mu.Lock()
		busy := len(d.runs) > 0 || len(d.sent) > 0
		d.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-asking.Done():
			return
		case <-late:
			return
		case <-d.moved:
		}
	}
}

// showed signals that something more was shown.
func (d *desk) showed() { signalled(d.moved) }

// signalled leaves a signal for a goroutine that waits for one.
func signalled(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// questioning writes a question until it is called off.
type questioning struct {
	d   *desk
	ctx context.Context
}

func (w questioning) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return len(p), nil
	}
	return w.d.screen.asking(p)
}

// edit lets the person edit a text. Nothing is shown meanwhile: the editor has
// the screen.
func (d *desk) edit(asking context.Context, a parley.Awaited, text string) (string, error) {
	editor, ok := editorCommand(os.Getenv)
	if !ok {
		return d.editLine(asking, a)
	}
	d.screen.mu.Lock()
	defer d.screen.mu.Unlock()
	d.editing.Store(true)
	defer d.editing.Store(false)
	return runEditor(editor, text)
}

// editLine reads the arguments, or an answer, where there is no editor.
func (d *desk) editLine(asking context.Context, a parley.Awaited) (string, error) {
	what := "arguments"
	if a.For == parley.WaitAnswer {
		what = "answer"
	}
	w := questioning{d, asking}
	if _, err := fmt.Fprintf(w, "no EDITOR is set; the %s as one line of JSON: ", what); err != nil {
		return "", err
	}
	line, err := d.q.keys.line(asking)
	d.screen.answered()
	return line, err
}

// putOff postpones a decision.
func (d *desk) putOff(a parley.Awaited) {
	d.mu.Lock()
	d.later[matter(a)] = true
	d.mu.Unlock()
	p := errorProfile()
	d.screen.callOff(p.Dim(wrapped("decide it with "+d.q.app.decideWith(d.q.conversation, a), 0, p.Width)))
	d.postponed()
}

// send publishes a verdict.
func (d *desk) send(ctx context.Context, a parley.Awaited, c terminal.Choice) {
	v := &parley.Verdict{ID: parley.NewID(), Verdict: c.Verdict, Reason: c.Reason, From: userName()}
	call, err := parley.AnswerTo(a, c.Content)
	if c.Verdict != parley.RulingAnswer {
		call, err = parley.CallVerdict{Call: a.Call, Digest: a.Digest, Arguments: c.Arguments}, nil
	}
	v.Calls = []parley.CallVerdict{call}
	d.mu.Lock()
	d.sent[v.ID] = true
	d.mu.Unlock()
	if err == nil {
		_, err = d.conv.Publish(ctx, v)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	d.screen.callOff("parley: the verdict was not sent: " + err.Error())
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sent, v.ID)
	delete(d.past, matter(a))
	d.wake()
}

// userName is who decides here, unless a flag names another.
func userName() string {
	if name := cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("USERNAME")); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// shown is an event as it is shown where people are asked: a question shows all that
// Paused has.
func (d *desk) shown(e parley.Event) parley.Event {
	decision, ok := e.Body.(*parley.Decision)
	if !ok || !d.asks {
		return e
	}
	rest := *decision
	rest.Events = nil
	for _, l := range decision.Events {
		if paused, ok := l.Event.(*parley.Paused); ok && paused.Reminder == 0 {
			unasked := *paused
			unasked.Awaiting = slices.DeleteFunc(slices.Clone(paused.Awaiting), func(a parley.Awaited) bool { return a.For != parley.WaitTime })
			if len(unasked.Awaiting) == 0 {
				continue
			}
			l.Event = &unasked
		}
		rest.Events = append(rest.Events, l)
	}
	e.Body = &rest
	return e
}
