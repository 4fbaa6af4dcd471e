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

// Tool is a function that models can call. Make it with [Func]. It may be served
// by several servers at once.
type Tool struct {
	spec events.ToolSpec
	run  func(ctx context.Context, in contract.Input) (contract.Result, error)
	err  error
}

// Err says why the tool cannot be served, and how to repair its definition;
// [Serve] returns the same. It is nil for a tool that can be.
func (t Tool) Err() error { return t.err }

// Name is the name that models call the tool by; empty if the definition is wrong.
func (t Tool) Name() string { return t.spec.Name }

// Schemas are the JSON Schemas of the tool's arguments and of its result as data;
// output is nil when the result is text only.
func (t Tool) Schemas() (input, output json.RawMessage) { return t.spec.Schema, t.spec.Output }

// Option says something about a tool to [Func].
type Option func(*definition)

// definition is what the options of a tool come to.
type definition struct {
	spec     events.ToolSpec
	problems []error
}

func (d *definition) problem(format string, args ...any) {
	d.problems = append(d.problems, fmt.Errorf(format, args...))
}

func (d *definition) effect(e events.Effect) {
	if d.spec.Effect != "" && d.spec.Effect != e {
		d.problem("it is said to be %s and %s: keep one of the two", d.spec.Effect, e)
	}
	d.spec.Effect = e
}

// Pure says that the tool changes nothing: it may be run any number of times.
func Pure() Option { return func(d *definition) { d.effect(events.EffectPure) } }

// Idempotent says that a second run with the same [CallID] changes no more than
// the first.
func Idempotent() Option { return func(d *definition) { d.effect(events.EffectIdempotent) } }

// Once says that the tool must never be run again on its own once it has begun.
// It is what a tool is that says nothing.
func Once() Option { return func(d *definition) { d.effect(events.EffectOnce) } }

// Timeout is how long a call may take, at least a millisecond; 2 minutes when a
// tool does not say.
func Timeout(longest time.Duration) Option {
	return func(d *definition) {
		if d.spec.TimeoutMS = longest.Milliseconds(); longest < time.Millisecond {
			d.problem("the timeout %s must be at least 1ms", longest)
		}
	}
}

// Concurrency is how many calls of the tool one server runs at once;
// [Server.Slots] when a tool does not say.
func Concurrency(n int) Option {
	return func(d *definition) {
		if d.spec.Concurrency = n; n < 1 {
			d.problem("the concurrency %d must be at least 1", n)
		}
	}
}

// ResultBytes is how long a result may be, in bytes; the call fails when it is
// longer.
func ResultBytes(n int64) Option {
	return func(d *definition) {
		if d.spec.ResultBytes = n; n < 1 {
			d.problem("the bound of %d bytes on the result must be at least 1", n)
		}
	}
}

// InputSchema is the JSON Schema of the arguments, an object, in place of the one
// made from In; In may then be anything that encoding/json reads an object into,
// such as map[string]any or json.RawMessage.
func InputSchema(schema string) Option {
	return func(d *definition) { d.spec.Schema = json.RawMessage(schema) }
}

// OutputSchema is the JSON Schema of the result, in place of the one made from
// Out. The result is then data, whatever Out is, and the call fails when it does
// not fit.
func OutputSchema(schema string) Option {
	return func(d *definition) { d.spec.Output = json.RawMessage(schema) }
}

// Func makes a tool of a function. The name is 1 to 64 letters, digits, _ and -;
// the description is what the model chooses by. In is a struct, the arguments;
// struct{} for none. fn may be called by several goroutines at once. The package
// says what becomes of Out and the error. A definition that is wrong is reported
// by [Serve] and [Tool.Err].
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
	// The registry has the last word on names and schemas, here as in Serve.
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

// served is a tool as the worker runs it.
type served struct{ Tool }

// Spec implements the contract of a tool.
func (s served) Spec() events.ToolSpec { return s.spec }

// Run implements the contract of a tool.
func (s served) Run(ctx context.Context, in contract.Input) (contract.Result, error) {
	return s.run(ctx, in)
}
