package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/parleybus/parley/internal/events"
	contract "github.com/parleybus/parley/internal/tool"
)

// Tool is a function that models can call. Create it with [Func]. Several
// servers may serve it at once.
type Tool struct {
	spec events.ToolSpec
	run  func(ctx context.Context, in contract.Input) (contract.Result, error)
	err  error
}

// Err returns why the tool cannot be served, and how to fix its definition;
// [Serve] returns the same error. It is nil for a valid tool.
func (t Tool) Err() error { return t.err }

// Name returns the name by which models call the tool; "" if the definition is
// wrong.
func (t Tool) Name() string { return t.spec.Name }

// Schemas returns the JSON Schemas of the tool's arguments and of its
// structured result; output is nil if the result is text only.
func (t Tool) Schemas() (input, output json.RawMessage) { return t.spec.Schema, t.spec.Output }

// Option sets a property of a tool in [Func].
type Option func(*definition)

// definition holds the options of a tool.
type definition struct {
	spec     events.ToolSpec
	problems []error
}

func (d *definition) problem(format string, args ...any) {
	d.problems = append(d.problems, fmt.Errorf(format, args...))
}

func (d *definition) effect(e events.Effect) {
	if d.spec.Effect != "" && d.spec.Effect != e {
		d.problem("it is declared %s and %s: keep one of the two", d.spec.Effect, e)
	}
	d.spec.Effect = e
}

// Pure marks a tool that changes nothing: it may run any number of times.
func Pure() Option { return func(d *definition) { d.effect(events.EffectPure) } }

// Idempotent marks a tool for which a second run with the same [CallID] changes
// nothing more than the first.
func Idempotent() Option { return func(d *definition) { d.effect(events.EffectIdempotent) } }

// Once marks a tool that is never retried after it has started. This is the
// default.
func Once() Option { return func(d *definition) { d.effect(events.EffectOnce) } }

// Timeout sets the timeout of a call, at least a millisecond; 2 minutes by
// default.
func Timeout(longest time.Duration) Option {
	return func(d *definition) {
		if d.spec.TimeoutMS = longest.Milliseconds(); longest < time.Millisecond {
			d.problem("the timeout %s must be at least 1ms", longest)
		}
	}
}

// Concurrency sets the number of calls of the tool that one server runs at
// once; [Server.Slots] by default.
func Concurrency(n int) Option {
	return func(d *definition) {
		if d.spec.Concurrency = n; n < 1 {
			d.problem("the concurrency %d must be at least 1", n)
		}
	}
}

// ResultBytes bounds the length of a result, in bytes; a call with a longer
// result fails.
func ResultBytes(n int64) Option {
	return func(d *definition) {
		if d.spec.ResultBytes = n; n < 1 {
			d.problem("the bound of %d bytes on the result must be at least 1", n)
		}
	}
}

// InputSchema sets the JSON Schema of the arguments, an object, instead of the
// one generated from In; In may then be any type into which encoding/json
// decodes an object, such as map[string]any or json.RawMessage.
func InputSchema(schema string) Option {
	return func(d *definition) { d.spec.Schema = json.RawMessage(schema) }
}

// OutputSchema sets the JSON Schema of the result, instead of the one generated
// from Out. The result is then structured data, whatever Out is, and the call
// fails if it does not fit the schema.
func OutputSchema(schema string) Option {
	return func(d *definition) { d.spec.Output = json.RawMessage(schema) }
}

// Func creates a tool from a function. The name is 1 to 64 letters, digits, _
// and -; the model chooses a tool by its description. In is a struct, the
// arguments; struct{} for none. fn may be called by several goroutines at once.
// The package comment describes how Out and the error are used. [Serve] and
// [Tool.Err] report a wrong definition.
func Func[In, Out any](name, description string, fn func(context.Context, In) (Out, error), opts ...Option) Tool {
	d := &definition{spec: events.ToolSpec{Name: name, Description: description}}
	for _, opt := range opts {
		opt(d)
	}
	if fn == nil {
		d.problem("its function is nil")
	}
	d.input(reflect.TypeFor[In]())
	encode := d.output(reflect.TypeFor[Out]())
	if err := errors.Join(d.problems...); err != nil {
		return Tool{spec: d.spec, err: fmt.Errorf("tool %q: %w", name, err)}
	}
	t := Tool{spec: d.spec}
	// The registry checks names and schemas, here and in Serve.
	if _, t.err = contract.New(served{t}); t.err != nil {
		return t
	}
	t.run = func(ctx context.Context, in contract.Input) (contract.Result, error) {
		args, err := arguments[In](in)
		if err != nil {
			return contract.Result{}, err
		}
		out, err := during(ctx, in, func(ctx context.Context) (any, error) { return fn(ctx, args) })
		if err != nil {
			return contract.Result{}, readable(ctx, name, err)
		}
		return encode(out)
	}
	return t
}

// served adapts a tool to the worker's interface.
type served struct{ Tool }

// Spec implements the contract of a tool.
func (s served) Spec() events.ToolSpec { return s.spec }

// Run implements the contract of a tool.
func (s served) Run(ctx context.Context, in contract.Input) (contract.Result, error) {
	return s.run(ctx, in)
}
