package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// ErrNoAnswer reports that a hook has not answered by its deadline.
var ErrNoAnswer = errors.New("the hook has not answered")

// hookQueue is the queue group that shares a hook's requests.
const hookQueue = "hooks"

const (
	// hooksAtOnce bounds the requests that one process answers at a time, and
	// hooksWaiting those that wait for it: the rest is for others of the group,
	// or too late.
	hooksAtOnce  = 64
	hooksWaiting = 1024
	// hookDrain is how long running handlers may take to answer when the
	// process receives the signal to stop.
	hookDrain = 10 * time.Second
)

// Call sends a request to the app behind a hook and waits for its answer for the
// call's timeout, or until ctx's deadline; then it fails with [ErrNoAnswer]. While
// nobody subscribes to the hook, or the connection is lost, it repeats the request:
// an app may get the same call twice, with the turn's id as idempotency key.
// An invalid answer is an error at once. A failure of the app is in the answer's
// Error.
func (h Hooks) Call(ctx context.Context, call *events.HookCall) (*events.HookAnswered, error) {
	subject, err := topology.HookSubject(call.When, call.Hook)
	if err != nil {
		return nil, fmt.Errorf("ask a hook: %w", err)
	}
	asking, cancel := context.WithTimeout(ctx, milliseconds(call.TimeoutMS))
	defer cancel()
	request, err := h.bus.hookRequest(asking, call)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	// One inbox for all tries: an answer to an earlier one counts too.
	inbox := h.bus.nc.NewInbox()
	answers := make(chan *nats.Msg, 16)
	sub, err := h.bus.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	reply, err := h.bus.requestAnswer(asking, &nats.Msg{Subject: subject, Reply: inbox, Header: nats.Header{topology.HeaderProtocol: {topology.ProtocolText()}}}, request, answers)
	switch {
	case err == nil:
	case errors.Is(asking.Err(), context.DeadlineExceeded):
		by, _ := asking.Deadline() // ctx may have an earlier one
		return nil, fmt.Errorf("%w on %s by %s: %w", ErrNoAnswer, subject, by.UTC().Format(time.RFC3339Nano), err)
	case asking.Err() != nil:
		return nil, fmt.Errorf("ask %s: %w", subject, context.Cause(asking))
	default:
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	answer, err := h.bus.readAnswer(asking, call, reply.Data)
	if err != nil {
		return nil, fmt.Errorf("the answer on %s cannot be used: %w", subject, err)
	}
	return answer, nil
}

// Why a hook's request had no answer.
var (
	errNobody = errors.New("nobody subscribes to it: start the app, or take the hook out of the conversation's settings")
	errLate   = errors.New("the deadline had passed before it was asked")
	errSilent = errors.New("the app got the request and did not answer")
)

// milliseconds is a duration from a message. A sum that overflows means forever.
func milliseconds(ms int64) time.Duration {
	return time.Duration(min(ms, int64(math.MaxInt64/time.Millisecond))) * time.Millisecond
}

// hookRequest returns what makes the payload of each try: with what is left of the
// timeout, as long as the call fits a message. A claim is stored only once.
func (b *Bus) hookRequest(ctx context.Context, call *events.HookCall) (func() ([]byte, error), error) {
	frame, err := events.AppendFrame(nil, call)
	if err != nil {
		return nil, err
	}
	if len(frame) > b.payload {
		claim, err := b.fit(ctx, call.Conversation, frame)
		return func() ([]byte, error) { return claim, nil }, err
	}
	return func() ([]byte, error) {
		again := *call
		if by, ok := ctx.Deadline(); ok { // ctx's own may be earlier than the call's
			again.TimeoutMS = max(time.Until(by).Milliseconds(), 1)
		}
		return events.AppendFrame(nil, &again)
	}, nil
}

// requestAnswer publishes until an answer comes, with backoff while there is nobody to
// give one.
func (b *Bus) requestAnswer(ctx context.Context, request *nats.Msg, payload func() ([]byte, error), answers <-chan *nats.Msg) (*nats.Msg, error) {
	reconnected := b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer b.nc.RemoveStatusListener(reconnected)
	why := errLate
	for wait := writeBackoff(); ; {
		if ctx.Err() != nil {
			return nil, why
		}
		var err error
		if request.Data, err = payload(); err != nil {
			return nil, err
		}
		failed := b.nc.PublishMsg(request)
		if permanent(failed) {
			return nil, failed
		}
		again := time.After(appendTimeout) // to see whether it was denied
		switch {
		case failed != nil:
			why, again = failed, time.After(wait.delay())
		case !errors.Is(why, errNobody): // else the server may be about to answer 503 once more
			why = errSilent
		}
		taken := failed == nil
		for pending := true; pending; {
			select {
			case <-ctx.Done():
				return nil, why
			case <-reconnected:
				pending = false // the request, or its answer, may be lost
			case m := <-answers:
				if m.Header.Get("Status") != "503" || len(m.Data) > 0 {
					return m, nil
				}
				why, taken, again = errNobody, false, time.After(wait.delay())
			case <-again:
				if denied := b.denial(request.Subject); denied != nil {
					return nil, denied
				}
				if pending = taken; taken {
					why = errSilent
				}
			}
		}
	}
}

// readAnswer reads what an app answered. Its "type" may be left out, and the
// turn, the time and the hook, which are those of the call.
func (b *Bus) readAnswer(ctx context.Context, call *events.HookCall, data []byte) (*events.HookAnswered, error) {
	a, err := b.decodeAnswer(ctx, data)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct{ what, got, want string }{
		{"turn", a.Turn, call.Turn}, {"when", string(a.When), string(call.When)}, {"hook", a.Hook, call.Hook},
	} {
		if f.got != "" && f.got != f.want {
			return nil, fmt.Errorf("its %s is %q, asked was %q", f.what, Preview(oneLine(f.got), 60), f.want)
		}
	}
	a.Turn, a.When, a.Hook = call.Turn, call.When, call.Hook
	return a, nil
}

func (b *Bus) decodeAnswer(ctx context.Context, data []byte) (*events.HookAnswered, error) {
	const want = `want {"type":"HookAnswered","context":"…"}, with context, refuse or error, each of which may be left out`
	var head map[string]json.RawMessage
	if json.Unmarshal(data, &head) == nil && head != nil && head["type"] == nil {
		// Here an unknown field can only be a mistake.
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		a := new(events.HookAnswered)
		if err := d.Decode(a); err != nil {
			return nil, fmt.Errorf("%w: %s", err, want)
		}
		return a, nil
	}
	lines, err := b.decode(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, want)
	}
	if len(lines) != 1 {
		return nil, fmt.Errorf("it holds %d events: %s", len(lines), want)
	}
	a, ok := lines[0].Event.(*events.HookAnswered)
	if !ok {
		return nil, fmt.Errorf("it is a %s: %s", Preview(oneLine(lines[0].Event.Type()), 60), want)
	}
	return a, nil
}

// Serve answers the requests of a hook with fn until ctx ends, as one of the
// queue group "hooks", so that the processes of an app share them. fn may run
// many times at once; its context ends with the call's timeout, counted from
// when the request came. fn's error becomes the answer's Error; a nil answer
// adds nothing. When ctx has ended no more requests are
// taken, and those that were taken are answered first, for 10 seconds at most.
func (h Hooks) Serve(ctx context.Context, when events.HookTime, name string, fn func(context.Context, *events.HookCall) (*events.HookAnswered, error)) error {
	subject, err := topology.HookSubject(when, name)
	if err != nil {
		return fmt.Errorf("answer a hook: %w", err)
	}
	sub, err := h.bus.nc.QueueSubscribeSync(subject, hookQueue)
	if err != nil {
		return fmt.Errorf("answer %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when it is gone already
	if err := errors.Join(sub.SetPendingLimits(hooksWaiting, -1), h.bus.nc.FlushTimeout(appendTimeout)); err != nil {
		h.bus.log.Debug("hooks are answered when the connection is back", "subject", subject, "error", err)
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(hookDrain, stop) })()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, hooksAtOnce)
	take := func(until context.Context) error {
		for {
			msg, err := sub.NextMsgWithContext(until)
			if errors.Is(err, nats.ErrSlowConsumer) {
				h.bus.log.Warn("hooks are asked faster than they are answered, some go unanswered", "subject", subject)
				continue
			}
			if err != nil {
				return err
			}
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				h.bus.answerHook(working, msg, fn)
			})
		}
	}
	if err := take(ctx); ctx.Err() == nil {
		stop() // nobody waits for their answers any more
		return fmt.Errorf("answer %s: %w", subject, err)
	}
	if err := sub.Drain(); err == nil {
		_ = take(working) // ends when the server's last request has been taken
	}
	return context.Cause(ctx)
}

// answerHook answers one request.
func (b *Bus) answerHook(ctx context.Context, msg *nats.Msg, fn func(context.Context, *events.HookCall) (*events.HookAnswered, error)) {
	if msg.Reply == "" {
		return // nobody waits for an answer
	}
	answer := &events.HookAnswered{}
	var call events.HookCall
	lines, err := b.decode(ctx, msg.Data)
	if err == nil {
		c, ok := lines[0].Event.(*events.HookCall)
		if !ok || len(lines) != 1 {
			err = errors.New("the request is not one HookCall")
		} else {
			call = *c
		}
	}
	if err == nil {
		until, cancel := context.WithTimeout(ctx, milliseconds(call.TimeoutMS))
		defer cancel()
		var said *events.HookAnswered
		if said, err = fn(until, &call); said != nil {
			*answer = *said
		}
	}
	if err != nil {
		answer.Error = Preview(oneLine(err.Error()), 1024)
	}
	answer.Turn, answer.When, answer.Hook = call.Turn, call.When, call.Hook
	frame, err := events.AppendFrame(nil, answer)
	if err == nil {
		frame, err = b.fit(ctx, call.Conversation, frame)
	}
	if err == nil {
		err = b.nc.Publish(msg.Reply, frame)
	}
	if err != nil {
		b.log.Warn("a hook could not be answered", "subject", msg.Subject, "turn", call.Turn, "error", err)
	}
}
