package main

import (
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
)

func TestAResultThatDoesNotCountTakesNoQuestionOffTheDesk(t *testing.T) {
	d := newDesk(&question{quiet: true}, nil, nil, nil)
	d.waits = []events.Awaited{{For: events.WaitApproval, Call: "approval"}, {For: events.WaitResult, Call: "outside"}, {For: events.WaitAnswer, Call: "asks"}}
	write := func(call string, body parley.Body) {
		d.see(parley.Event{Channel: parley.ChannelCall, Call: call, Body: body})
	}
	write("asks", &events.ToolStarted{Call: "asks", Attempt: "a"})
	for _, call := range []string{"approval", "outside", "asks"} {
		write(call, &events.ToolResult{Call: call, Attempt: "stranger"})
	}
	var left []string
	for _, a := range d.waits {
		left = append(left, a.Call)
	}
	if len(left) != 2 || left[0] != "approval" || left[1] != "asks" {
		t.Errorf("there wait still: %v", left)
	}
	write("asks", &events.ToolResult{Call: "asks", Attempt: "a"})
	if len(d.waits) != 1 {
		t.Errorf("the result of the attempt that runs takes nothing off: %v", d.waits)
	}
}
