package main

import (
	"fmt"
	"strings"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
)

// rowsOf returns the rows of what waits.
func rowsOf(all []parley.Waiting) []terminal.ApprovalRow {
	rows := make([]terminal.ApprovalRow, len(all))
	for i, w := range all {
		rows[i] = terminal.ApprovalRow{Conversation: w.Conversation, Awaited: w.Awaited}
		if w.Since != nil {
			rows[i].Since = *w.Since
		}
	}
	return rows
}

// waitingCount is how many things a conversation waits for.
func waitingCount(s *parley.State) int {
	n := 0
	for i := range s.Calls {
		if s.Calls[i].Waiting() && s.Calls[i].Waits != parley.WaitLimit {
			n++
		}
	}
	if s.Question != nil {
		n++
	}
	return n
}

// phase describes what a conversation is doing.
func phase(s *parley.State) string {
	switch s.Phase {
	case "":
		return "new"
	case parley.PhasePaused:
		return fmt.Sprintf("waits: %d", waitingCount(s))
	}
	return string(s.Phase)
}

// waitsFor describes what is waited for.
func waitsFor(w parley.Wait) string {
	switch w {
	case parley.WaitTime:
		return "its time"
	case parley.WaitResult:
		return "the app"
	}
	return "a person"
}

// who says who is waited for, and which approvals there are.
func who(a parley.Awaited) string {
	if progress := a.Progress(); progress != "" {
		return plainLine("a person (" + progress + ")")
	}
	return waitsFor(a.For)
}

// plainLine makes a text of others one harmless line.
func plainLine(text string) string { return terminal.Profile{Unicode: true}.Line(text, 0) }

// awaitedLine is one awaited thing as one harmless line.
func awaitedLine(a parley.Awaited) string { return terminal.Profile{Unicode: true}.Awaited(&a) }

// commandLine is a command of parley that works on the same data as this one.
func (a *app) commandLine(words ...string) string {
	line := "parley"
	if a.cfg.NATS.URL == "" && a.data != dataDir() {
		line += " --data " + shellQuoted(a.data)
	}
	return line + " " + strings.Join(words, " ")
}

// howToDecide describes what is awaited and which command decides it.
func (a *app) howToDecide(conversation string, w parley.Awaited) string {
	text := "waiting for " + who(w) + ": " + awaitedLine(w)
	switch w.For {
	case parley.WaitTime:
		return text
	case parley.WaitResult:
		return text + "\n  " + a.decideWith(conversation, w)
	}
	return text + "\n  " + a.decideWith(conversation, w) + "\n  " + a.commandLine("reject", conversation, w.Call)
}

// decideWith returns the command that decides something. It contains no text of a
// tool, because people copy it.
func (a *app) decideWith(conversation string, w parley.Awaited) string {
	switch {
	case w.For == parley.WaitAnswer && !terminal.YesOrNo(&w):
		return a.commandLine("answer", conversation, w.Call, "'{…}'")
	case w.For == parley.WaitResult:
		return a.commandLine("answer", conversation, w.Call, "TEXT")
	}
	return a.commandLine("approve", conversation, w.Call)
}
