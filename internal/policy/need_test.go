package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/parleybus/parley/internal/events"
)

func publicKey(t *testing.T) string {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestIdentitiesOfTheFile(t *testing.T) {
	anna, ben := publicKey(t), publicKey(t)
	people := fmt.Sprintf("identities:\n  - {name: anna, keys: [%s], groups: [finance]}\n  - name: ben\n    keys: [%s]\n    groups: [finance]\n    tags: [oncall]\n", anna, ben)
	d, err := parse([]byte(people + `inputs: {require: signed, settings: ["tag:oncall"]}
policy:
  rules:
    - {tool: bank_*, action: approve, approvers: ["group:finance"], approvals: 2, not_requester: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	need := d.Policy.Rules[0].Need
	if !d.Book.May("anna", need) || need.Count() != 2 || !need.NotRequester || d.Book.MaySet("anna") || !d.Book.MaySet("ben") {
		t.Errorf("the need is %+v of %+v", need, d.Identities)
	}
	for want, file := range map[string]string{
		`line 9: policy: rule 1: "group:boss" is no identity`:                people + "policy:\n  rules:\n    - {action: approve, approvers: [\"group:boss\"]}\n",
		"line 3: policy: rule 1: approvers, approvals and not_requester nee": "policy:\n  rules:\n    - {action: approve, not_requester: true}\n",
		`line 3: identity "ben": key ` + anna + ` is also that of "anna"`:    fmt.Sprintf("identities:\n  - {name: anna, keys: [%s]}\n  - {name: ben, keys: [%s]}\n", anna, anna),
		`line 7: inputs: require is "always"`:                                people + "inputs: {require: always}\n",
		"line 1: inputs: there are no identities":                            "inputs: {require: signed}\n",
		"line 1: unknown field":                                              "inputs: {who: signed}\n",
		"line 3: policy: rule 1: approvals is 11":                            "policy:\n  rules:\n    - {action: approve, approvals: 11}\n",
	} {
		if _, err := parse([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s, of\n%s", err, want, file)
		}
	}
}

func TestNeedsThatARuleCannotHave(t *testing.T) {
	var j Judge
	for want, r := range map[string]events.Rule{
		"are for actions approve and defer, not auto": {Action: events.ActionAuto, Need: events.Need{Approvers: []string{"anna"}}},
		"not deny":                {Action: events.ActionDeny, Need: events.Need{NotRequester: true}},
		"runs by itself":          {Action: events.ActionDefer, DelayMS: 1, Need: events.Need{NotRequester: true}},
		"a deferred call has one": {Action: events.ActionDefer, Need: events.Need{Approvals: 2}},
		"approvals is -1":         {Action: events.ActionApprove, Need: events.Need{Approvals: -1}},
		"at most 100":             {Action: events.ActionApprove, Need: events.Need{Approvers: make([]string, 101)}},
	} {
		if err := j.Check(&events.Policy{Rules: []events.Rule{r}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}

// TestANeedKeepsACallFromRunning: no grant and no action lets a call run whose rule
// says who approves, also when nobody checked the policy.
func TestANeedKeepsACallFromRunning(t *testing.T) {
	var j Judge
	for _, action := range []events.Action{events.ActionAuto, events.ActionApprove, "nonsense"} {
		rule := events.Rule{Action: action, Need: events.Need{Approvers: []string{"anna"}}}
		grants := []events.Grant{{ID: "g", Tool: "pay", Rule: rule.Key()}}
		if r := j.JudgeWithin(NewBudget(), rules(rule), grants, Call{Tool: "pay"}); r.Action != events.ActionApprove || r.Granted != "" {
			t.Errorf("%s: %+v", action, r)
		}
	}
}

// TestTheKeyOfARuleWithoutANeedIsAsBefore: standing approvals refer to it.
func TestTheKeyOfARuleWithoutANeedIsAsBefore(t *testing.T) {
	if got := (events.Rule{Tool: "g", Action: events.ActionApprove, Reason: "look"}).Key(); got != "ffd141227cf3" {
		t.Errorf("the key is %s", got)
	}
}
