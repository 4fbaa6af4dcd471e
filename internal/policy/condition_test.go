package policy

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

// evaluate evaluates one condition on arguments of an ordinary call.
func evaluate(t *testing.T, when, args string) (bool, error) {
	t.Helper()
	var j Judge
	return j.conditions.holds(when, &facts{call: Call{Tool: "bank_transfer", Effect: events.EffectOnce, Arguments: args}, budget: maxTotalCost})
}

func TestConditionsThatHold(t *testing.T) {
	const mail = `{"to":["ann@example.com","bob@elsewhere.org"],"subject":"Größe 😀","text":"hello","attach":null,
		"options":{"urgent":true,"retries":3},"x-id":"7"}`
	for _, c := range []struct{ name, when, args string }{
		{"an integer is compared with an integer", `args.amount > 100`, `{"amount":101}`},
		{"an integer is compared with a fraction", `args.amount > 100.5`, `{"amount":101}`},
		{"a fraction is compared with an integer", `args.amount > 100`, `{"amount":100.5}`},
		{"an integer equals an integer", `args.amount == 3`, `{"amount":3}`},
		{"an integer equals a fraction without one", `args.amount == 3.0`, `{"amount":3}`},
		{"a fraction of zero is an integer", `args.amount == 3 && args.amount % 2 == 1`, `{"amount":3.0}`},
		{"an exponent can make an integer", `args.amount == 1000`, `{"amount":1e3}`},
		{"integers divide with a rest", `args.n % 2 == 0`, `{"n":4}`},
		{"the least integer is one", `args.n < 0`, `{"n":-9223372036854775808}`},
		{"an integer above int64 is one", `args.n > 9223372036854775807`, `{"n":9223372036854775808}`},
		{"an integer above uint64 is near enough", `args.n > 18446744073709551615u`, `{"n":100000000000000000000000}`},
		{"a small number is a fraction", `args.n > 0 && args.n < 1`, `{"n":1e-9}`},
		{"zero below is zero", `args.n == 0`, `{"n":-0.0}`},
		{"an integer is made a fraction", `double(args.n) * 1.5 == 3.0`, `{"n":2}`},
		{"a text is made a number", `int(args.n) > 5`, `{"n":"6"}`},
		{"math has the greater of two", `math.greatest(args.a, args.b) == 7`, `{"a":3,"b":7}`},
		{"math has the absolute", `math.abs(args.a) == 3`, `{"a":-3}`},

		{"a field that is missing is seen", `!has(args.amount)`, `{}`},
		{"a field that is null is there", `has(args.attach) && args.attach == null`, mail},
		{"a name with a dash is reached", `args["x-id"] == "7" && "x-id" in args`, mail},
		{"an object in the object is reached", `args.options.urgent && args.options.retries == 3`, mail},
		{"one of a list is enough", `args.to.exists(a, !a.endsWith("@example.com"))`, mail},
		{"all of a list are looked at", `args.to.all(a, a.contains("@"))`, mail},
		{"exactly one of a list", `args.to.exists_one(a, a.startsWith("ann"))`, mail},
		{"a list is filtered", `args.to.filter(a, a.endsWith(".org")).size() == 1`, mail},
		{"a list has a size", `size(args.to) == 2 && args.to[1] == "bob@elsewhere.org"`, mail},
		{"a value is one of those written down", `args.options.retries in [1, 2, 3]`, mail},
		{"lists are compared", `args.l == [1, 2.0, "a", [true]]`, `{"l":[1,2,"a",[true]]}`},
		{"a map is looked up", `{"a": 1, "b": 2}[args.k] == 2`, `{"k":"b"}`},
		{"a type can be asked for", `type(args.n) == int && type(args.s) == string`, `{"n":1,"s":""}`},

		{"a text has the size of its code points", `size(args.subject) == 7`, mail},
		{"a text with other letters is compared", `args.subject.startsWith("Größe")`, mail},
		{"an escape in JSON is the sign", `args.s == "é"`, `{"s":"\u00e9"}`},
		{"half a surrogate is the sign for none", `args.s == "\uFFFD"`, `{"s":"\ud800"}`},
		{"a zero byte is one", `args.s == "a\u0000b"`, `{"s":"a\u0000b"}`},
		{"names of fields have any letters", `args["größe"] == 1`, `{"größe":1}`},
		{"case can be put aside", `args.s.lowerAscii() == "drop table"`, `{"s":"DROP Table"}`},
		{"white space can be cut off", `args.s.trim() == "a"`, `{"s":" a\n"}`},
		{"a path is taken apart", `args.path.split("/").exists(p, p == "..")`, `{"path":"/a/../b"}`},
		{"a pattern matches", `args.cmd.matches("(?i)^rm\\s+-rf")`, `{"cmd":"RM  -rf /"}`},
		{"a time is compared", `timestamp(args.at) > timestamp("2026-01-01T00:00:00Z") && timestamp(args.at).getHours() == 12`, `{"at":"2026-05-01T12:00:00Z"}`},

		{"the tool has a name", `tool.startsWith("bank_") && effect == "once"`, ``},
		{"nothing is the empty object", `args == {} && size(args) == 0`, ` null `},
		{"what is decided without it is not looked at", `true || args.missing`, `{}`},
		{"either side can decide", `args.missing || true`, `{}`},
		{"a condition has lines and comments", "args.n > 1 // enough\n  && args.n < 9", `{"n":3}`},
		{"one of a ternary", `(has(args.n) ? args.n : 0) == 0`, `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if is, err := evaluate(t, c.when, c.args); err != nil || !is {
				t.Errorf("%s on %s: %v, %v", c.when, c.args, is, err)
			}
			if is, err := evaluate(t, "!("+c.when+"\n)", c.args); err != nil || is {
				t.Errorf("not %s on %s: %v, %v", c.when, c.args, is, err)
			}
		})
	}
}

func TestConditionsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, when, says string }{
		{"half a condition", `args.a >`, "does not compile: column 9"},
		{"a mistake in the second line", "args.a == 1\n&& user == 2", "line 2, column 4: undeclared reference to 'user'"},
		{"a function that is not there", `now() > 1`, "undeclared reference to 'now'"},
		{"types that do not fit", `tool > 3`, "no matching overload"},
		{"a number for a result", `1 + 2`, "returns a int"},
		{"a text for a result", `tool`, "returns a string"},
		{"a list for a result", `args.l.filter(x, true)`, "returns a list"},
		{"a long condition", strings.Repeat("a", maxCondition+1), "at most 2000"},
		{"the macro map", `args.l.map(x, x + 1) == []`, "'map'"},
		{"a list that is built", `[args.a, args.b] == []`, "builds a list"},
		{"a list that is built inside a constant", `[[1], [args, args]] == []`, "builds a list"},
		{"a list that doubles", `args.l.exists(x, [[x, x]].exists(y, y == y))`, "builds a list"},
		{"a map that is built", `{"a": args.a} == {}`, "builds a map"},
		{"a map that is built inside a list", `[{"a": args.a}] == []`, "builds a map"},
		{"a message", `google.protobuf.Int64Value{value: 1} == 1`, "builds a message"},
		{"a replacement", `args.s.replace("a", args.s) == ""`, "calls replace"},
		{"a join", `args.l.join(args.s) == ""`, "calls join"},
		{"a search for a place", `args.s.indexOf("a") > 3`, "calls indexOf"},
		{"a search from the end", `args.s.lastIndexOf("a") > 3`, "calls lastIndexOf"},
		{"a time zone", `timestamp(args.t).getHours(args.z) == 1`, "in UTC"},
		{"a pattern from the arguments", `args.s.matches(args.p)`, "write the pattern as a constant"},
		{"a pattern from the arguments, as a function", `matches(args.s, args.p)`, "write the pattern as a constant"},
		{"a pattern that is no text", `args.s.matches(dyn(1))`, "write the pattern as a constant"},
		{"a broken pattern", `args.s.matches("(")`, "missing closing"},
		{"a pattern that repeats what repeats", `args.s.matches("((a{1000}){1000}){1000}")`, "repeat"},
		{"a pattern that grows", `args.s.matches("(a?){500}")`, "too large"},
		{"many parentheses", strings.Repeat("(", 900) + "true" + strings.Repeat(")", 900), "recursion"},
		{"open parentheses", strings.Repeat("(", 1900), "recursion"},
		{"open brackets", strings.Repeat("[", 1900), "recursion"},
		{"open braces", strings.Repeat("{1:", 600), "recursion"},
		{"a long chain of fields", strings.Repeat("a.", 900) + "a", "recursion"},
		{"a long sum", "1" + strings.Repeat("+1", 900) + " > 0", "recursion"},
		{"macros in macros", strings.Repeat("[1].all(x,", 150) + "true" + strings.Repeat(")", 150), "recursion"},
		{"presence in presence", strings.Repeat("has(", 400), "recursion"},
		{"quotes", strings.Repeat("'''", 600), "does not compile"},
		{"question marks", strings.Repeat("?:", 900), "does not compile"},
		{"zero bytes", strings.Repeat("\x00", 900), "does not compile"},
		{"no UTF-8", "tool == '\xff\xfe'\xff", "does not compile"},
		{"an empty one of spaces", "   ", "does not compile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var j Judge
			err := j.Check(rules(events.Rule{Action: "auto"}, events.Rule{Action: "deny", When: c.when}))
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "rule 2: ") {
				t.Fatalf("%.80s: %v", c.when, err)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
				t.Errorf("the error is no short line: %v", err)
			}
		})
	}
}

// TestHostileConditionsAreStopped evaluates conditions that are allowed, on
// arguments made for them; the bound is their cost, which does not depend on the
// machine.
func TestHostileConditionsAreStopped(t *testing.T) {
	long := strings.Repeat("a", 60_000)
	args := fmt.Sprintf(`{"l":[%s1],"s":%q,"k":%q}`, strings.Repeat("1,", 1000), long[:40_000], long[:3000]+"b")
	many := `{"l":[` + strings.Repeat("1,", 30_000) + `1]}`
	for _, c := range []struct{ name, when, args string }{
		{"four loops in each other", `args.l.all(a, args.l.all(b, args.l.all(c, args.l.all(d, true))))`, args},
		{"everything compared with everything", `args.l.all(a, args == args)`, many},
		{"each looked for in all", `args.l.all(a, a + 1 in args.l || true)`, many},
		{"a text counted for each", `args.l.all(a, size(args.s) > 0)`, args},
		{"a text read for each", `args.l.all(a, timestamp(args.s) > timestamp(0) || true)`, args},
		{"a text split for each", `args.l.all(a, args.s.split("").size() > 0)`, args},
		{"a text doubled", `args.l.all(a, (args.s + args.s + args.s + args.s).size() > 0)`, args},
		{"a list doubled", `args.l.all(a, (args.l + args.l + args.l + args.l).size() > 0)`, many},
		{"a text searched for each", `args.l.all(a, args.s.contains(args.k) || true)`, args},
		{"a pattern with many states", `args.s.matches("(.*a){60}b")`, `{"s":"` + long + `"}`},
		{"errors that are thrown away", `args.l.exists(a, int(args.s) == 1)`, args},
		{"a list filtered again and again", `args.l.filter(a, true).filter(a, true).filter(a, true).size() > 0`, many},
	} {
		t.Run(c.name, func(t *testing.T) {
			if is, err := evaluate(t, c.when, c.args); err == nil || !strings.Contains(err.Error(), "cost limit") {
				t.Errorf("%v, %v", is, err)
			}
		})
	}
}

func TestOrdinaryConditionsOnLargeArgumentsAreNotStopped(t *testing.T) {
	text := strings.Repeat("lorem ipsum ", 5000)
	list := strings.Repeat(`"ann@example.com",`, 500) + `"bob@example.com"`
	for _, c := range []struct{ when, args string }{
		{`args.text.contains("rm -rf") || args.text.contains("mkfs") || args.text.lowerAscii().contains("drop table")`, `{"text":"` + text + `"}`},
		{`args.text.matches("(?i)drop\\s+table")`, `{"text":"` + text + `"}`},
		{`!args.to.all(a, a.endsWith("@example.com") && a.matches("^[a-z.]+@"))`, `{"to":[` + list + `]}`},
		{`args.to == ["nobody"]`, `{"to":[` + list + `]}`},
	} {
		if is, err := evaluate(t, c.when, c.args); err != nil || is {
			t.Errorf("%s: %v, %v", c.when, is, err)
		}
	}
}

func TestAllConditionsOnACallShareABudget(t *testing.T) {
	var j Judge
	costly := events.Rule{Action: events.ActionAuto, When: `args.l.all(a, args.l.all(b, a + b > 0))`}
	cheap := events.Rule{Action: events.ActionDeny, When: `false`}
	args := `{"l":[` + strings.Repeat("1,", 999) + `1]}`
	for n, want := range map[int]events.Action{
		3:                         events.ActionApprove, // the deny can be evaluated
		maxTotalCost/maxCost + 10: events.ActionDeny,    // nobody can tell whether it matches
	} {
		p := rules()
		for range n {
			p.Rules = append(p.Rules, costly)
		}
		p.Rules = append(p.Rules, cheap)
		if got := j.Judge(p, nil, Call{Tool: "a", Arguments: args}); got.Action != want {
			t.Errorf("after %d costly conditions: %s, want %s", n, got.Action, want)
		}
	}
}

func TestCompiledConditionsAreKeptAndBounded(t *testing.T) {
	var c conditions
	first := c.get("true")
	if again := c.get("true"); again.program != first.program {
		t.Error("a condition was compiled twice")
	}
	broken := c.get("nonsense")
	if again := c.get("nonsense"); again.err != broken.err {
		t.Error("a condition that does not compile was tried twice")
	}
	for i := range maxConditions + 10 {
		c.get(fmt.Sprintf("args.n == %d", i))
		if n := len(c.compiled); n > maxConditions {
			t.Fatalf("%d conditions are kept, at most %d should be", n, maxConditions)
		}
	}
	c.get(strings.Repeat(" ", maxCondition) + "true")
	for text := range c.compiled {
		if len(text) > maxCondition {
			t.Error("a condition that is too long is kept")
		}
	}
}

func TestOneJudgeServesMany(t *testing.T) {
	var j Judge
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				p := rules(events.Rule{Action: "deny", When: fmt.Sprintf("args.n == %d", n)},
					events.Rule{Action: "auto", When: "args.n >= 0 && args.s.matches('^a+$')"})
				want := events.ActionAuto
				if n%2 == 0 {
					want = events.ActionDeny
				}
				got := j.Judge(p, nil, Call{Tool: "t", Arguments: fmt.Sprintf(`{"n":%d,"s":"aaa"}`, n+n%2)})
				if got.Action != want {
					t.Errorf("worker %d, call %d: %s, want %s", i, n, got.Action, want)
				}
				if err := j.Check(p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
