package parley_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

// deployment runs a deployment for an example, in place of an existing one.
func deployment(ctx context.Context, answer model.AnswerFunc, tools ...tool.Tool) *embedded.Parley {
	p, err := embedded.Start(ctx, embedded.Options{
		NoBuiltins: true, Tools: tools, Port: -1,
		Models: []model.Served{{Provider: model.Func("example", answer), Model: "one"}},
	})
	if err != nil {
		panic(err)
	}
	return p
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func Example() {
	ctx := context.Background()
	p := deployment(ctx, echo)
	defer p.Close()

	c, err := parley.Connect(ctx, parley.Config{URL: p.Server()})
	check(err)
	defer c.Close()
	turn, err := c.Conversation(parley.NewID()).Send(ctx, "hello there", parley.WithModel("example/one"), parley.WithFrom("ada"))
	check(err)
	for e, err := range turn.Events(ctx) {
		check(err)
		switch body := e.Body.(type) {
		case *parley.TextChunk:
			fmt.Print(body.Text)
		case *parley.TurnEnded:
			fmt.Printf("\n%s after %d step\n", body.Outcome, body.Steps)
		}
	}
	// Output:
	// You said: hello there
	// completed after 1 step
}

// A call that needs approval waits until a person decides, however long, also while
// everything is restarted.
func ExampleWaiting() {
	ctx := context.Background()
	paid := make(chan string, 1)
	p := deployment(ctx, pays, transfer(paid))
	defer p.Close()

	turn, err := p.Conversation(parley.NewID()).Send(ctx, "pay Ada", parley.WithTools("transfer"))
	check(err)
	for change, err := range p.FollowWaiting(ctx, nil) {
		check(err)
		fmt.Printf("%s(%s) %s for %s\n", change.Tool, change.Arguments, change.Change, change.For)
		check(change.Edit(ctx, json.RawMessage(`{"to":"Ben"}`), parley.Because("Ada has moved"), parley.By("carol")))
		break
	}
	result, err := turn.Wait(ctx)
	check(err)
	fmt.Println(result.Text)
	// Output:
	// transfer({"to":"Ada"}) waits for approval
	// Done: transferred to Ben
}

// Watch yields the conversation as it is, then each time that it changes.
func ExampleConversation_Watch() {
	ctx := context.Background()
	p := deployment(ctx, echo)
	defer p.Close()

	conv := p.Conversation(parley.NewID())
	_, err := conv.Send(ctx, "hello")
	check(err)
	for view, err := range conv.Watch(ctx) {
		check(err)
		if view.State.Phase == parley.PhaseIdle && view.State.Turns == 1 {
			for _, m := range view.Messages {
				fmt.Printf("%s: %s\n", m.Role, parley.TextOf(m))
			}
			break
		}
	}
	// Output:
	// user: hello
	// assistant: You said: hello
}

// A viewer that joins late shows the history, then live events.
func ExampleConversation_Snapshot() {
	ctx := context.Background()
	p := deployment(ctx, echo)
	defer p.Close()

	conv := p.Conversation(parley.NewID())
	turn, err := conv.Send(ctx, "first")
	check(err)
	_, err = turn.Wait(ctx)
	check(err)

	view, live, err := conv.Snapshot(ctx)
	check(err)
	fmt.Println(len(view.Messages), "messages so far")
	_, err = conv.Send(ctx, "second")
	check(err)
	for e, err := range live {
		check(err)
		if text, ok := e.Body.(*parley.TextChunk); ok {
			fmt.Print(text.Text)
		}
		if _, ended := e.Body.(*parley.TurnEnded); ended {
			break
		}
	}
	// Output:
	// 2 messages so far
	// You said: second
}

// The same id is the same message for good: a program that does not know whether its
// message was stored sends it again.
func ExampleWithInputID() {
	ctx := context.Background()
	p := deployment(ctx, echo)
	defer p.Close()

	conv, id := p.Conversation(parley.NewID()), parley.NewID()
	for range 3 {
		turn, err := conv.Send(ctx, "only once", parley.WithInputID(id))
		check(err)
		_, err = turn.Wait(ctx)
		check(err)
	}
	view, err := conv.View(ctx)
	check(err)
	fmt.Println(view.State.Turns, "turn")
	// Output: 1 turn
}

// A program runs a tool without a model.
func ExampleClient_CallTool() {
	ctx := context.Background()
	double := tool.Func("double", "Double a number", func(_ context.Context, a struct{ N int }) (string, error) {
		return fmt.Sprint(2 * a.N), nil
	}, tool.Pure())
	p := deployment(ctx, echo, double)
	defer p.Close()

	result, err := p.CallTool(ctx, parley.ToolCall{Tool: "double", Arguments: json.RawMessage(`{"N":21}`)})
	check(err)
	fmt.Println(result.Status, result.Content)
	// Output: ok 42
}

// Answers are JSON that fits a schema. The first answer of this model does not, so that
// it is asked once more.
func ExampleWithSchema() {
	ctx := context.Background()
	poor := model.Func("poor", func(_ context.Context, r model.Request, w *model.Writer) error {
		if len(r.Messages) == 1 {
			w.Text("The total is 3.")
			return nil
		}
		w.Text(`{"total":3}`)
		return nil
	})
	p, err := embedded.Start(ctx, embedded.Options{Port: -1, NoBuiltins: true, Models: []model.Served{{Provider: poor, Model: "one"}}})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	schema := json.RawMessage(`{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}`)
	turn, err := p.Conversation(parley.NewID()).Send(ctx, "What is 1 + 2?", parley.WithModel("poor/one"), parley.WithSchema(schema))
	if err != nil {
		panic(err)
	}
	result, err := turn.Wait(ctx)
	fmt.Println(result.Text, err)
	// Output: {"total":3} <nil>
}
