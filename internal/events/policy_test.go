package events

import "testing"

func TestADigestIsOfTheMeaningfulBytes(t *testing.T) {
	base := Digest(`{"path":"a b","n":1}`)
	for _, tc := range []struct {
		name, arguments string
		same            bool
	}{
		{"space between tokens does not count", "{ \"path\" : \"a b\",\n\t\"n\": 1 }\n", true},
		{"space inside a text counts", `{"path":"a  b","n":1}`, false},
		{"another value counts", `{"path":"a b","n":2}`, false},
		{"another spelling of a number counts", `{"path":"a b","n":1.0}`, false},
		{"the order of the fields counts", `{"n":1,"path":"a b"}`, false},
		{"a field more counts", `{"path":"a b","n":1,"force":true}`, false},
		{"what is no JSON has a digest of its own", `{"path":"a b","n":1`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Digest(tc.arguments) == base; got != tc.same {
				t.Errorf("the same digest: %v, want %v", got, tc.same)
			}
		})
	}
	if len(base) != 64 {
		t.Errorf("%q is no SHA-256 in hex", base)
	}
	// sha256sum of the two bytes {}: the value other languages must reach.
	const empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	for _, none := range []string{"", " \n", "null", "{}", "{ }"} {
		if got := Digest(none); got != empty {
			t.Errorf("digest of %q is %s, want that of {}", none, got)
		}
	}
}

func TestARuleIsKnownByItsContent(t *testing.T) {
	base := Rule{Tool: "git_push", Action: ActionApprove, Reason: "it leaves the house"}
	if same := base; same.Key() != base.Key() || len(base.Key()) != 12 {
		t.Errorf("the key is %q, then %q", base.Key(), same.Key())
	}
	seen := map[string]bool{base.Key(): true}
	for _, change := range []func(*Rule){
		func(r *Rule) { r.Tool = "git_*" },
		func(r *Rule) { r.Effect = EffectOnce },
		func(r *Rule) { r.When = `args.branch == "main"` },
		func(r *Rule) { r.Action = ActionDeny },
		func(r *Rule) { r.Reason = "" },
		func(r *Rule) { r.DelayMS = 1 },
		func(r *Rule) { r.AtMS = 1 },
		func(r *Rule) { r.DeadlineMS = 1 },
	} {
		r := base
		change(&r)
		if key := r.Key(); seen[key] {
			t.Errorf("%+v has the key of another rule", r)
		} else {
			seen[key] = true
		}
	}
}

func TestNothingSaidIsZero(t *testing.T) {
	for _, tc := range []struct {
		name string
		zero bool
		want bool
	}{
		{"a policy that says nothing", Policy{}.IsZero(), true},
		{"a policy with a rule", Policy{Rules: []Rule{{}}}.IsZero(), false},
		{"a policy with a deadline", Policy{DeadlineMS: 1}.IsZero(), false},
		{"a policy with reminders", Policy{ReminderMS: 1}.IsZero(), false},
		{"limits that say nothing", Limits{}.IsZero(), true},
		{"limits without a single call", Limits{Calls: map[string]int{}}.IsZero(), true},
		{"a limit of calls", Limits{Calls: map[string]int{"search_*": 0}}.IsZero(), false},
		{"a limit of cost", Limits{CostUSD: 0.01}.IsZero(), false},
		{"a word for what happens at a limit", Limits{OnLimit: LimitAsk}.IsZero(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.zero != tc.want {
				t.Errorf("zero is %v, want %v", tc.zero, tc.want)
			}
		})
	}
}
