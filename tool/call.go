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

// ErrDeclined is returned by [Ask] if the person declined to answer.
var ErrDeclined = errors.New("the person declined to answer")

// ErrNobody is returned by [Ask] if no person can be asked.
var ErrNobody = errors.New("no person can be asked during this call")

// arguments decodes the arguments of a call. Some models write integers as 3.0,
// which a schema accepts as an integer and encoding/json does not.
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
		return args, err // the error of the model's own text
	}
	return again, nil
}

// whole rewrites 3.0 and 3e2 as 3 and 300, at any depth of a value.
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

// callKey is the context key of the running call.
type callKey struct{}

// call is a running call. Goroutines that outlive the function may still use
// it; their output is dropped.
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

// of returns the running call of ctx, or an empty one, so that functions can be
// tested without a server.
func of(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// Progress shows viewers the progress of the call, a line at a time. The model
// does not read it, and it is not stored in HISTORY. It is safe for concurrent
// use. Outside a call it does nothing.
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

// CallID returns the id of the running call, which is the same in every retry:
// an [Idempotent] tool uses it as the key of its effect. It returns "" outside
// a call.
func CallID(ctx context.Context) string { return of(ctx).Call }

// Conversation returns the id of the call's conversation, or "" outside a call.
func Conversation(ctx context.Context) string { return of(ctx).Input.Conversation }

// Ask asks a person a question during a call and blocks until the answer
// arrives. Answer is bool for a question of yes or no, where declining is no,
// or a struct, whose fields the person fills in. The error is [ErrDeclined],
// [ErrNobody], or the reason for a missing answer, such as ctx.Err().
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
		return answer, fmt.Errorf("the answer does not match the requested type: %w", err)
	}
	return answer, nil
}
