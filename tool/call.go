package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"

	contract "github.com/parleybus/parley/internal/tool"
)

// ErrDeclined says that the person who was asked declined to answer.
var ErrDeclined = errors.New("the person declined to answer")

// ErrNobody says that there is nobody to ask.
var ErrNobody = errors.New("nobody can be asked during this call")

// arguments reads the arguments of a call. Some models write whole numbers as 3.0,
// which a schema takes for an integer and encoding/json does not.
func arguments[In any](in contract.Input) (In, error) {
	var args, again In
	err := in.Decode(&args)
	if err == nil {
		return args, nil
	}
	object, failed := in.Object()
	if failed != nil {
		return args, err
	}
	raw, failed := json.Marshal(whole(object))
	if failed != nil || (contract.Input{Arguments: raw}).Decode(&again) != nil {
		return args, err // what is wrong with what the model wrote
	}
	return again, nil
}

// whole writes 3.0 and 3e2 as 3 and 300, wherever they are in a value.
func whole(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 && strings.ContainsAny(v.String(), ".eE") {
			return int64(f)
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = whole(v[k])
		}
	}
	return v
}

// callKey finds the call that runs in a context.
type callKey struct{}

// call is a call that runs. Goroutines that a function leaves behind may still
// use it: they are not heard.
type call struct {
	contract.Input
	mu    sync.Mutex
	ended bool
}

// during runs a function within a call.
func during(ctx context.Context, in contract.Input, fn func(context.Context) (any, error)) (any, error) {
	c := &call{Input: in}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
	}()
	return fn(context.WithValue(ctx, callKey{}, c))
}

// of is the call that runs in ctx, or an empty one, so that functions can be
// tested without a server.
func of(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// Progress tells people who watch how far the call is, a line at a time; the
// model does not read it, and nothing keeps it. It may be called by several
// goroutines. Outside of a call it does nothing.
func Progress(ctx context.Context, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	c := of(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Output != nil && !c.ended {
		c.Output(text)
	}
}

// CallID is the id of the call that runs, the same in every run of it: the key
// by which an [Idempotent] tool finds what it has done already. It is empty
// outside of a call.
func CallID(ctx context.Context) string { return of(ctx).Call }

// Conversation is the id of the conversation that the call belongs to; it is
// empty outside of a call.
func Conversation(ctx context.Context) string { return of(ctx).Input.Conversation }

// Ask asks a person in the middle of a call and waits for the answer. Answer is
// bool for a question of yes or no, where declining is no, or a struct, whose
// fields the person fills in. The error is [ErrDeclined], [ErrNobody], or why
// nobody answered, such as ctx's end.
func Ask[Answer any](ctx context.Context, message string) (Answer, error) {
	var answer Answer
	c := of(ctx)
	if c.Ask == nil {
		return answer, ErrNobody
	}
	q := contract.Question{Message: message}
	yes, boolean := any(&answer).(*bool)
	if !boolean {
		schema, err := inputSchema(reflect.TypeFor[Answer]())
		if err != nil {
			return answer, fmt.Errorf("ask with %T: %w", answer, err)
		}
		q.Schema = schema
	}
	got, err := c.Ask(ctx, q)
	switch {
	case err != nil:
		return answer, err
	case boolean:
		*yes = !got.Declined
		return answer, nil
	case got.Declined:
		return answer, ErrDeclined
	}
	if err := json.Unmarshal(got.Content, &answer); err != nil {
		return answer, fmt.Errorf("the answer does not fit what was asked for: %w", err)
	}
	return answer, nil
}
