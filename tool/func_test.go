package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
	contract "github.com/parleybus/parley/internal/tool"
)

type none = struct{}

// returning is a function without arguments that returns out and err.
func returning[Out any](out Out, err error) func(context.Context, none) (Out, error) {
	return func(context.Context, none) (Out, error) { return out, err }
}

func TestDefinitionsThatAreWrongAreReportedAndNeverPanic(t *testing.T) {
	t.Parallel()
	fine := returning("fine", nil)
	for name, c := range map[string]struct {
		tool Tool
		want string
	}{
		"an empty tool":                   {Tool{}, "make it with tool.Func"},
		"no name":                         {Func("", "", fine), "rename it"},
		"a name with a space":             {Func("get weather", "", fine), `tool "get weather": the name must be`},
		"a name that is too long":         {Func(strings.Repeat("a", 65), "", fine), "1 to 64 letters"},
		"a nil function":                  {Func[none, string]("t", "", nil), "its function is nil"},
		"two effect classes":              {Func("t", "", fine, Pure(), Once()), "pure and once: keep one"},
		"a timeout of nothing":            {Func("t", "", fine, Timeout(0)), "timeout 0s must be at least 1ms"},
		"a concurrency of nothing":        {Func("t", "", fine, Concurrency(0)), "concurrency 0"},
		"a bound below nothing":           {Func("t", "", fine, ResultBytes(-1)), "-1 bytes"},
		"arguments that are no struct":    {Func("t", "", func(context.Context, []int) (string, error) { return "", nil }), "[]int is not a struct of arguments"},
		"a schema that is no JSON":        {Func("t", "", fine, InputSchema("{")), "InputSchema: "},
		"a schema of an array":            {Func("t", "", fine, InputSchema(`{"type":"array"}`)), `InputSchema: its type must be "object"`},
		"a schema of an unknown type":     {Func("t", "", fine, InputSchema(`{"type":"objekt"}`)), "InputSchema: the tool's schema cannot be used"},
		"a schema that refers elsewhere":  {Func("t", "", fine, InputSchema(`{"type":"object","$ref":"https://example.com/s.json"}`)), "put the definition under $defs"},
		"a schema that is huge":           {Func("t", "", fine, InputSchema(`{"type":"object","description":"`+strings.Repeat("a", 70_000)+`"}`)), "more than 65536"},
		"an output schema that is wrong":  {Func("t", "", returning(1, nil), OutputSchema(`{"type":1}`)), "OutputSchema: the tool's schema cannot be used"},
		"an output schema of text":        {Func("t", "", fine, OutputSchema(`{"type":"object"}`)), "OutputSchema is of data"},
		"a result that cannot be written": {Func("t", "", returning(make(chan int), nil)), "result: chan int: a chan cannot be JSON"},
		"a result that contains itself":   {Func("t", "", returning(tree{}, nil)), "or give the schema with OutputSchema"},
		"several things":                  {Func[none, string]("t", "", nil, Timeout(-1), Concurrency(-1)), "concurrency -1 must be at least 1\nits function is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Serve(t.Context(), "nats://127.0.0.1:1", Func("other", "", fine), c.tool)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestToolsOfOneNameAreRefused(t *testing.T) {
	t.Parallel()
	err := Serve(t.Context(), "nats://127.0.0.1:1", Func("t", "", returning("a", nil)), Func("t", "", returning("b", nil)))
	if err == nil || !strings.Contains(err.Error(), `"t" is registered twice`) {
		t.Errorf("got %v", err)
	}
	if err := Serve(t.Context(), "nats://127.0.0.1:1"); err == nil {
		t.Error("serving nothing is no error")
	}
}

func TestOptionsAreInTheAnnouncement(t *testing.T) {
	t.Parallel()
	tool := Func("t", "says so", returning("", nil), Idempotent(), Timeout(1500*time.Millisecond), Concurrency(3), ResultBytes(100))
	want := events.ToolSpec{Name: "t", Description: "says so", Effect: events.EffectIdempotent, TimeoutMS: 1500, Concurrency: 3, ResultBytes: 100}
	got := tool.spec
	if got.Schema = nil; tool.Err() != nil {
		t.Fatal(tool.Err())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAGivenSchemaReplacesTheDerivedOne(t *testing.T) {
	t.Parallel()
	const recursive = `{"type":"object","$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}}}},"properties":{"n":{"$ref":"#/$defs/n"}}}`
	tool := Func("t", "", func(_ context.Context, in map[string]json.RawMessage) (tree, error) {
		return tree{Name: string(in["n"])}, nil
	},
		InputSchema(recursive), OutputSchema(` {"type": "object"} `))
	input, output := tool.Schemas()
	if string(input) != recursive || string(output) != `{"type":"object"}` || tool.Err() != nil {
		t.Fatalf("got %s, %s and %v", input, output, tool.Err())
	}
	got, err := tool.run(t.Context(), contract.Input{Arguments: json.RawMessage(`{"n":{"next":{}}}`)})
	if want := `{"Name":"{\"next\":{}}","Children":null}`; err != nil || string(got.Structured) != want {
		t.Errorf("got %s and %v, want %s", got.Structured, err, want)
	}
}

type sum struct {
	Sum  int    `json:"sum"`
	Note string `json:"note,omitempty"`
}

func TestWhatAFunctionReturnsDecidesWhatTheModelReads(t *testing.T) {
	t.Parallel()
	png := []byte("\x89PNG\x0D\x0A\x1A\x0A\x00")
	structured := func(s string) contract.Result {
		return contract.Result{Content: s, Structured: json.RawMessage(s)}
	}
	for name, c := range map[string]struct {
		tool Tool
		want contract.Result
	}{
		"a string is unchanged":                 {Func("t", "", returning(" {\"a\": 1}\n", nil)), contract.Result{Content: " {\"a\": 1}\n"}},
		"so does one of a type of its own":      {Func("t", "", returning(events.Status("ok"), nil)), contract.Result{Content: "ok"}},
		"what is no UTF-8 is replaced":          {Func("t", "", returning("a\xFFb", nil)), contract.Result{Content: "a\uFFFDb"}},
		"a struct is data":                      {Func("t", "", returning(sum{Sum: 3, Note: "<&>"}, nil)), structured(`{"sum":3,"note":"<&>"}`)},
		"a pointer to one too":                  {Func("t", "", returning(&sum{Sum: 3}, nil)), structured(`{"sum":3}`)},
		"a map too":                             {Func("t", "", returning(map[string]int{"b": 2, "a": 1}, nil)), structured(`{"a":1,"b":2}`)},
		"a nil map is an empty object":          {Func("t", "", returning(map[string]int(nil), nil)), structured(`{}`)},
		"nothing is done":                       {Func("t", "", returning(none{}, nil)), contract.Result{Content: "done"}},
		"a number is its digits":                {Func("t", "", returning(2.5, nil)), contract.Result{Content: "2.5"}},
		"a list is JSON":                        {Func("t", "", returning([]sum{{Sum: 1}}, nil)), contract.Result{Content: `[{"sum":1}]`}},
		"a nil list is an empty one":            {Func("t", "", returning([]sum(nil), nil)), contract.Result{Content: `[]`}},
		"a time is JSON":                        {Func("t", "", returning(time.Unix(0, 0).UTC(), nil)), contract.Result{Content: `"1970-01-01T00:00:00Z"`}},
		"anything is JSON":                      {Func("t", "", returning(any(sum{Sum: 1}), nil)), contract.Result{Content: `{"sum":1}`}},
		"anything with a schema is data":        {Func("t", "", returning(any(sum{Sum: 1}), nil), OutputSchema(`{"type":"object"}`)), structured(`{"sum":1}`)},
		"raw JSON is made compact":              {Func("t", "", returning(json.RawMessage(`{ "a": [ 1 ] }`), nil)), contract.Result{Content: `{"a":[1]}`}},
		"bytes that are text are text":          {Func("t", "", returning([]byte("plain"), nil)), contract.Result{Content: "plain"}},
		"bytes that are not are attached":       {Func("t", "", returning(png, nil)), contract.Result{Content: "attached: (image/png, 9 bytes)", Attachments: []contract.Attachment{{MIME: "image/png", Data: png}}}},
		"an attachment is named":                {Func("t", "", returning(Attachment{Name: "a.png", Data: png}, nil)), contract.Result{Content: "attached: a.png (image/png, 9 bytes)", Attachments: []contract.Attachment{{Name: "a.png", MIME: "image/png", Data: png}}}},
		"attachments are listed":                {Func("t", "", returning([]Attachment{{Name: "a", MIME: "x/y"}, {Name: "b", MIME: "x/z"}}, nil)), contract.Result{Content: "attached: a (x/y, 0 bytes), b (x/z, 0 bytes)", Attachments: []contract.Attachment{{Name: "a", MIME: "x/y"}, {Name: "b", MIME: "x/z"}}}},
		"a result says all of it":               {Func("t", "", returning(Result{Content: "three", Structured: sum{Sum: 3}}, nil)), contract.Result{Content: "three", Structured: json.RawMessage(`{"sum":3}`)}},
		"a result without text is read as data": {Func("t", "", returning(Result{Structured: sum{Sum: 3}}, nil), OutputSchema(`{"type":"object"}`)), structured(`{"sum":3}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.tool.Err(); err != nil {
				t.Fatal(err)
			}
			got, err := c.tool.run(t.Context(), contract.Input{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if _, output := c.tool.Schemas(); (output != nil) != (got.Structured != nil) && name != "a result says all of it" {
				t.Errorf("output schema %s for %s", output, got.Structured)
			}
		})
	}
}

func orFailed(s events.Status) events.Status {
	if s == "" {
		return events.StatusFailed
	}
	return s
}

func TestWhatTheModelReadsOfAnError(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		tool   Tool
		want   string
		status events.Status
		after  time.Duration // of one that may pass
	}{
		"Fail is read as it is":                                 {tool: Func("t", "", returning("", Fail("no city %q: ask for Oslo", "X"))), want: `no city "X": ask for Oslo`},
		"Fail is read with what is around it":                   {tool: Func("t", "", returning("", fmt.Errorf("weather: %w", Fail("no city")))), want: "weather: no city"},
		"Fail may be long":                                      {tool: Func("t", "", returning("", Fail("%s", strings.Repeat("a", 10_000)))), want: strings.Repeat("a", 10_000)},
		"others are bounded":                                    {tool: Func("t", "", returning("", errors.New(strings.Repeat("ä", 10_000)))), want: strings.Repeat("ä", 2048) + "… (the first 4096 of 20000 bytes)"},
		"others are made UTF-8":                                 {tool: Func("t", "", returning("", errors.New("a\xFF"))), want: "a\uFFFD"},
		"an empty one says whose it is":                         {tool: Func("t", "", returning("", errors.New(""))), want: "the tool t failed and did not say why"},
		"Retry may pass":                                        {tool: Func("t", "", returning("", Retry(errors.New("busy"), time.Second))), want: "busy", after: time.Second},
		"Retry of nothing may too":                              {tool: Func("t", "", returning("", Retry(nil, -time.Second))), want: "it is not available now", after: -1},
		"a deadline of its own is a failure":                    {tool: Func("t", "", returning("", fmt.Errorf("dial: %w", context.DeadlineExceeded))), want: "dial: context deadline exceeded"},
		"a context of its own is a failure":                     {tool: Func("t", "", returning("", context.Canceled)), want: "context canceled"},
		"the call's end is the call's":                          {ctx: ended, tool: Func("t", "", returning("", fmt.Errorf("get: %w", context.Canceled))), want: "get: context canceled", status: events.StatusCancelled},
		"a question that nobody answers says how the call ends": {tool: Func("t", "", returning("", contract.End(events.StatusExpired, "nobody answered"))), want: "nobody answered", status: events.StatusExpired},
		"a result beats the end of the call":                    {ctx: ended, tool: Func("t", "", returning("", error(nil))), status: events.StatusOK},
		"a nil result without an error is a fault":              {tool: Func("t", "", returning((*sum)(nil), nil)), want: "the tool gave nothing: a nil *tool.sum and no error"},
		"a result that is no JSON":                              {tool: Func("t", "", returning(math.NaN(), nil)), want: "the result cannot be written as JSON: json: unsupported value: NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			_, err := c.tool.run(c.ctx, contract.Input{})
			if err == nil {
				err = errors.New("")
			} else if want := orFailed(c.status); contract.StatusOf(err) != want {
				t.Errorf("ends as %s", contract.StatusOf(err))
			}
			if err.Error() != c.want {
				t.Errorf("got %.300q, want %.300q", err, c.want)
			}
			after, passes := contract.RetryAfter(err)
			if passes != (c.after != 0) || after != max(c.after, 0) {
				t.Errorf("may pass: %t, after %s", passes, after)
			}
		})
	}
}

func TestArgumentsReachTheFunction(t *testing.T) {
	t.Parallel()
	add := Func("add", "", func(_ context.Context, in *struct{ A, B int }) (int, error) { return in.A + in.B, nil })
	for raw, want := range map[string]string{`{"A":2,"B":3}`: "5", `{"A":2.0,"B":3e2}`: "302", `{}`: "0", ``: "0", `null`: "0"} {
		if got, err := add.run(t.Context(), contract.Input{Arguments: json.RawMessage(raw)}); err != nil || got.Content != want {
			t.Errorf("%q: got %q and %v, want %s", raw, got.Content, err, want)
		}
	}
	for _, raw := range []string{`{"A":1e40}`, `{"A":2.5}`, `{"A":"2"}`, `{"A":`, `[]`, `{"A":9007199254740993.0}`} {
		_, err := add.run(t.Context(), contract.Input{Arguments: json.RawMessage(raw)})
		if contract.StatusOf(err) != events.StatusFailed || !strings.Contains(err.Error(), "do not fit the tool") {
			t.Errorf("%s: got %v", raw, err)
		}
	}
}

func TestACallKnowsWhoseItIs(t *testing.T) {
	t.Parallel()
	tool := Func("t", "", func(ctx context.Context, _ none) (string, error) {
		return CallID(ctx) + " " + Conversation(ctx), nil
	})
	got, err := tool.run(t.Context(), contract.Input{Call: "c1", Conversation: "v1"})
	if err != nil || got.Content != "c1 v1" {
		t.Errorf("got %q and %v", got.Content, err)
	}
	ctx := t.Context()
	Progress(ctx, "to nobody")
	if _, err := Ask[bool](ctx, "anybody?"); CallID(ctx) != "" || Conversation(ctx) != "" || !errors.Is(err, ErrNobody) {
		t.Error("there is a call outside of a call")
	}
}

func TestProgressIsLinesFromAnyGoroutineUntilTheCallEnds(t *testing.T) {
	t.Parallel()
	var lines []string
	release, done := make(chan none), make(chan none)
	tool := Func("t", "", func(ctx context.Context, _ none) (string, error) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { Progress(ctx, "step %d", i%2) })
		}
		wg.Wait()
		Progress(ctx, "with its own end\n")
		go func() {
			defer close(done)
			<-release
			Progress(ctx, "too late")
		}()
		return "", nil
	})
	if _, err := tool.run(t.Context(), contract.Input{Output: func(text string) { lines = append(lines, text) }}); err != nil {
		t.Fatal(err)
	}
	close(release)
	<-done
	count := map[string]int{}
	for _, l := range lines {
		count[l]++
	}
	if diff := cmp.Diff(map[string]int{"step 0\n": 10, "step 1\n": 10, "with its own end\n": 1}, count); diff != "" {
		t.Error(diff)
	}
}

func TestAskingAPerson(t *testing.T) {
	t.Parallel()
	type trip struct {
		To string `json:"to" jsonschema:"where to"`
	}
	yes := Func("yes", "", func(ctx context.Context, _ none) (string, error) {
		ok, err := Ask[bool](ctx, "really?")
		return fmt.Sprintf("%t%v", ok, err), nil
	})
	where := Func("where", "", func(ctx context.Context, _ none) (string, error) {
		to, err := Ask[trip](ctx, "where to?")
		return to.To + fmt.Sprint(err), nil
	})
	number := Func("number", "", func(ctx context.Context, _ none) (string, error) {
		_, err := Ask[int](ctx, "how many?")
		return fmt.Sprint(err), nil
	})
	const form = `{"type":"object","properties":{"to":{"type":"string","description":"where to"}},"required":["to"],"additionalProperties":false}`
	for name, c := range map[string]struct {
		tool         Tool
		answer       contract.Answer
		err          error
		want, schema string
	}{
		"yes is true":                        {tool: yes, want: "true<nil>"},
		"no is false":                        {tool: yes, answer: contract.Answer{Declined: true}, want: "false<nil>"},
		"a form is filled in":                {tool: where, answer: contract.Answer{Content: json.RawMessage(`{"to":"Oslo"}`)}, want: "Oslo<nil>", schema: form},
		"a form is declined":                 {tool: where, answer: contract.Answer{Declined: true}, want: ErrDeclined.Error(), schema: form},
		"a form is filled in wrongly":        {tool: where, answer: contract.Answer{Content: json.RawMessage(`{"to":1}`)}, want: "the answer does not match the requested type: json: cannot unmarshal number into Go struct field trip.to of type string", schema: form},
		"nobody answers":                     {tool: where, err: context.DeadlineExceeded, want: "context deadline exceeded", schema: form},
		"a form must be a struct":            {tool: number, want: "ask with int: int is not a struct of arguments: use a struct, struct{} for none", schema: "not asked"},
		"there is nobody who could be asked": {tool: where, err: ErrNobody, want: ErrNobody.Error(), schema: form},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := "not asked"
			got, err := c.tool.run(t.Context(), contract.Input{Ask: func(_ context.Context, q contract.Question) (contract.Answer, error) {
				schema = string(q.Schema)
				return c.answer, c.err
			}})
			if err != nil || got.Content != c.want || schema != c.schema {
				t.Errorf("got %q, %v, asked with %s; want %q and %s", got.Content, err, schema, c.want, c.schema)
			}
		})
	}
}
