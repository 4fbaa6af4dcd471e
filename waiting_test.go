package parley

import (
	"slices"
	"testing"
	"time"
)

// TestAnApprovalThatIsNotTheLastIsAChange: somebody who follows what waits learns of
// it once.
func TestAnApprovalThatIsNotTheLastIsAChange(t *testing.T) {
	var changes []string
	b := &board{waits: map[string]*boardEntry{}, report: func(c WaitingChange, err error) error {
		changes = append(changes, c.Change+": "+c.Progress())
		return err
	}}
	waits := func(approved ...Approval) *boardEntry {
		return &boardEntry{waiting: []Waiting{{Awaited: Awaited{Call: "c", For: WaitApproval, Needs: &Need{Approvals: 2}, Approved: approved}}}}
	}
	anna := Approval{Signer: "anna", Verdict: "v"}
	for _, e := range []*boardEntry{waits(), waits(anna), waits(anna), {}} {
		if err := b.change("conversation", e, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"waits: 0 of 2; needs somebody who signs", "approved in part: 1 of 2, by anna; needs another: somebody who signs", "decided: 1 of 2, by anna; needs another: somebody who signs"}
	if !slices.Equal(changes, want) {
		t.Errorf("the changes are %q, want %q", changes, want)
	}
}
