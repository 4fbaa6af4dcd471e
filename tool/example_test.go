package tool_test

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/parleybus/parley/tool"
)

// A whole program: one tool, served until it is interrupted.
func Example() {
	greet := func(ctx context.Context, in struct {
		Name string `json:"name" jsonschema:"whom to greet"`
	}) (string, error) {
		return "Hello, " + in.Name + "!", nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, url, end := laboratory(ctx) // a deployment for this example; one call ends ctx
	defer end()
	if err := tool.Serve(ctx, url, tool.Func("greet", "Greets a person", greet, tool.Pure())); err != nil {
		fmt.Println(err)
	}
	// Output: greet {"name":"Ada"}: ok, Hello, Ada!
}

// The schemas come from the structs and their tags.
func ExampleFunc() {
	type query struct {
		City string `json:"city" jsonschema:"name of the city"`
		Unit string `json:"unit,omitempty" enum:"celsius,fahrenheit"`
	}
	type weather struct {
		Sky     string  `json:"sky"`
		Degrees float64 `json:"degrees"`
	}
	t := tool.Func("get_weather", "Current weather in a city",
		func(ctx context.Context, in query) (weather, error) { return weather{"snow", -3}, nil },
		tool.Pure(), tool.Timeout(5*time.Second), tool.Concurrency(4))
	input, output := t.Schemas()
	fmt.Println(string(input))
	fmt.Println(string(output))
	try(t, `{"city":"Oslo"}`)
	// Output:
	// {"type":"object","properties":{"city":{"type":"string","description":"name of the city"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["city"],"additionalProperties":false}
	// {"type":"object","properties":{"sky":{"type":"string"},"degrees":{"type":"number"}},"required":["sky","degrees"]}
	// get_weather {"city":"Oslo"}: ok, {"sky":"snow","degrees":-3}
}

// People who watch see how far a call is.
func ExampleProgress() {
	try(tool.Func("count", "Counts", func(ctx context.Context, in struct{ To int }) (string, error) {
		for i := range in.To {
			tool.Progress(ctx, "%d of %d", i+1, in.To)
		}
		return "counted", nil
	}), `{"To":2}`)
	// Output:
	// 1 of 2
	// 2 of 2
	// count {"To":2}: ok, counted
}

// The model reads what went wrong and what to do next.
func ExampleFail() {
	try(tool.Func("capital", "Capital of a country", func(ctx context.Context, in struct{ Country string }) (string, error) {
		if strings.EqualFold(in.Country, "Norway") {
			return "Oslo", nil
		}
		return "", tool.Fail("no country %q is known: write its English name", in.Country)
	}), `{"Country":"Norge"}`)
	// Output: capital {"Country":"Norge"}: failed, no country "Norge" is known: write its English name
}

// A call is run again after an error that may pass, if the tool's class allows.
func ExampleRetry() {
	tries := 0
	try(tool.Func("fetch", "Fetches", func(ctx context.Context, _ struct{}) (string, error) {
		if tries++; tries < 3 {
			return "", tool.Retry(errors.New("the service is busy"), 10*time.Millisecond)
		}
		return fmt.Sprintf("fetched at the %drd try", tries), nil
	}, tool.Pure()), `{}`)
	// Output: fetch {}: ok, fetched at the 3rd try
}

// The id of the call keeps a second run from paying twice.
func ExampleIdempotent() {
	paid := map[string]int{}
	try(tool.Func("pay", "Pays an amount", func(ctx context.Context, in struct{ Cents int }) (string, error) {
		key := tool.CallID(ctx)
		if _, done := paid[key]; !done {
			paid[key] = in.Cents
			return "", tool.Retry(errors.New("the answer of the bank was lost"), time.Millisecond)
		}
		return fmt.Sprintf("paid %d", paid[key]), nil
	}, tool.Idempotent()), `{"Cents":250}`)
	// Output: pay {"Cents":250}: ok, paid 250
}

// A person decides during a call.
func ExampleAsk() {
	clean := func(ctx context.Context, _ struct{}) (string, error) {
		yes, err := tool.Ask[bool](ctx, "Delete 14 files?")
		switch {
		case errors.Is(err, tool.ErrNobody):
			return "", tool.Fail("14 files would be deleted and nobody can be asked: leave them")
		case err != nil:
			return "", err
		case !yes:
			return "the files were kept", nil
		}
		return "14 files were deleted", nil
	}
	// Outside of a server no person can be asked.
	_, err := clean(context.Background(), struct{}{})
	fmt.Println(err)
	// Output: 14 files would be deleted and nobody can be asked: leave them
}

// A server's options: where NATS is, the worker's name and how it stops.
func ExampleServer() {
	server := tool.Server{Name: "clock-1", Slots: 4, Drain: 30 * time.Second, User: "tools", InboxPrefix: "_INBOX_tool-worker"}
	err := server.Serve(context.Background(), tool.Func("clock", "", func(ctx context.Context, in int) (string, error) { return "", nil }))
	fmt.Println(err)
	// Output: tool "clock": arguments: int is not a struct of arguments: use a struct, struct{} for none; or give the schema with InputSchema
}
