package conformance_test

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/conformance/app"
	"github.com/parleybus/parley/internal/conformance/hook"
	"github.com/parleybus/parley/internal/conformance/llmworker"
	"github.com/parleybus/parley/internal/conformance/toolworker"
	"github.com/parleybus/parley/internal/conformance/viewer"
)

// fault is a mistake in one of the examples in JavaScript, and the number of the rule that
// is about it.
type fault struct {
	name, program string
	number        int
	changes       []string // pairs: a text of the program, and what is in its place
}

func faults() []fault {
	return []fault{
		{"a tool-worker that forgets the fence", "worker.mjs", 8, []string{`, { expect: { lastSubjectSequence: after } });`, `);`}},
		{"a tool-worker that acknowledges before it writes", "worker.mjs", 10, []string{
			`=> append("ToolResult", { status, content, took_ms: Date.now() - began }, after).then(() => m.ack());`,
			`=> { m.ack(); return append("ToolResult", { status, content, took_ms: Date.now() - began }, after); };`}},
		{"a tool-worker that keeps its job when it is stopped", "worker.mjs", 18, []string{`: append("ToolReleased", {}, started.seq).then(() => m.nak());`, `: undefined;`}},
		{"an llm-worker that forgets the fence", "llm-worker.mjs", 9, []string{`, { expect: { lastSubjectSequence: seq } })`, `)`}},
		{"an llm-worker that leaves indices out", "llm-worker.mjs", 9, []string{`index: index++,`, `index: (index += 2) - 2,`}},
		{"an llm-worker that acknowledges before it writes", "llm-worker.mjs", 10, []string{
			`=> append("GenerationEnded", { ...base, terminated: false, ...fields, event_count: index + 1 }).then(() => m.ack());`,
			`=> { m.ack(); return append("GenerationEnded", { ...base, terminated: false, ...fields, event_count: index + 1 }); };`}},
		{"an llm-worker that takes a cut answer for a whole one", "llm-worker.mjs", 13, []string{`error = finish ? undefined : {`, `finish ??= "stop"; error = finish ? undefined : {`}},
		{"an llm-worker that passes half a call on", "llm-worker.mjs", 15, []string{"{ block: 1, call, ...(!finish && { invalid: `the arguments are incomplete: ${error.message}` }) }", `{ block: 1, call }`}},
		{"an llm-worker that does not heed a Cancel", "llm-worker.mjs", 16, []string{`["turn", "in"].map(`, `["turn"].map(`}},
		{"a viewer that resumes at the beginning of a message", "viewer.mjs", 5, []string{`seen = () => seq === from.seq && index <= from.index;`, `seen = () => false;`}},
		{"a viewer that skips a hole", "viewer.mjs", 6, []string{`if (seq !== high + 1 || !given) return catchUp();`, `if (!given) return catchUp();`}},
		{"a viewer that doubles after a reconnect", "viewer.mjs", 8, []string{`if (s.type === "reconnect") read();`, `if (s.type === "reconnect") (high = 0), read();`}},
		{"a viewer that does not notice what has expired", "viewer.mjs", 15, []string{`if (lost) await`, `if (lost && false) await`}},
		{"a viewer that ignores the epoch", "viewer.mjs", 17, []string{`if (epochOf(info) !== (epoch ??= epochOf(info)) || (!given && from.seq > last)) await`, `epoch = epochOf(info); if (false) await`}},
		{"an app that reuses ids", "app.mjs", 2, []string{`const id = newId(), {`, `const id = (globalThis.reused ??= newId()), {`}},
		{"an app that takes any answer for its own", "app.mjs", 5, []string{`&& e.input === id)`, `)`}},
		{"an app that makes digests of parsed arguments", "app.mjs", 8, []string{
			`(await waiting((a) => a.call === call)).digest ?? ""`,
			`Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(JSON.stringify((await waiting((a) => a.call === call)).arguments ?? {})))).toString("hex")`}},
		{"an app that publishes a secret in clear text", "app.mjs", 12, []string{`if (asked.arguments?.key) return`, `if (false) return`}},
		{"a hook without a queue group", "hook.mjs", 3, []string{`{ queue: "hooks", callback`, `{ callback`}},
		{"a hook that answers too late", "hook.mjs", 7, []string{`if (Date.now() - began < timeout_ms) m.respond`, `m.respond`}},
	}
}

// rulesOf returns the rules that an example in JavaScript follows.
func rulesOf(program string) []conformance.Rule {
	switch program {
	case "worker.mjs":
		return toolworker.Rules(unitConverter())
	case "llm-worker.mjs":
		return llmworker.Rules(parrot())
	case "viewer.mjs":
		return viewer.Rules()
	case "app.mjs":
		return app.Rules()
	}
	return hook.Rules()
}

// Faults that are planted in the examples are found, each by a rule with the number that
// is about it. That the examples without them pass is another test.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	atOnce := make(chan struct{}, 4) // most of a rule's time is waiting
	var running sync.WaitGroup
	defer running.Wait()
	for _, f := range faults() {
		command, err := script(t, f.program, f.changes...)
		if err != nil {
			if os.Getenv("PARLEY_EXAMPLES") != "" {
				t.Fatalf("the examples in JavaScript cannot be run: %v: run npm install in examples/javascript, or set PARLEY_NODE_MODULES", err)
			}
			t.Logf("the examples in JavaScript cannot be run here: %v", err)
			return
		}
		rules := slices.DeleteFunc(rulesOf(f.program), func(r conformance.Rule) bool { return r.Number != f.number })
		atOnce <- struct{}{}
		running.Go(func() {
			defer func() { <-atOnce }()
			var problems []string
			conformance.Run(t.Context(), conformance.Program{Command: command}, rules, conformance.Options{}, func(r conformance.Result) {
				problems = append(problems, r.Problems...)
			})
			if len(problems) == 0 {
				t.Errorf("%s passes the rules with the number %d", f.name, f.number)
				return
			}
			t.Logf("%s: rule %d: %.300s", f.name, f.number, strings.Join(problems, "; "))
		})
	}
}
