package events

import (
	"reflect"
	"testing"
)

func TestWhenSomethingHappensByItself(t *testing.T) {
	call := func(waits Wait, status Status, due, deadline int64) CallState {
		return CallState{Waits: waits, Status: status, DueMS: due, DeadlineMS: deadline}
	}
	for _, tc := range []struct {
		name  string
		state State
		want  int64
	}{
		{"nothing waits", State{Phase: PhaseIdle, RemindMS: 5}, 0},
		{"calls that run have no time of their own", State{Phase: PhaseCalling, Calls: []CallState{call("", "", 0, 5)}}, 0},
		{"a person has no deadline", State{Phase: PhasePaused, Calls: []CallState{call(WaitApproval, "", 0, 0)}}, 0},
		{"the first deadline", State{Phase: PhasePaused, Calls: []CallState{call(WaitApproval, "", 0, 9), call(WaitResult, "", 0, 7)}}, 7},
		{"a due time before a deadline", State{Phase: PhasePaused, Calls: []CallState{call(WaitApproval, "", 0, 9), call(WaitTime, "", 4, 0)}}, 4},
		{"a reminder before both", State{Phase: PhasePaused, RemindMS: 3, Calls: []CallState{call(WaitTime, "", 4, 0), call(WaitApproval, "", 0, 9)}}, 3},
		{"nobody is reminded of a time", State{Phase: PhasePaused, RemindMS: 3, Calls: []CallState{call(WaitTime, "", 4, 0)}}, 4},
		{"a call that waits for others has no time of its own", State{Phase: PhasePaused, Calls: []CallState{call(WaitSlot, "", 2, 2), call(WaitTime, "", 4, 0)}}, 4},
		{"a reminder after a deadline", State{Phase: PhasePaused, RemindMS: 10, Calls: []CallState{call(WaitApproval, "", 0, 9)}}, 9},
		{"a question at a limit", State{Phase: PhasePaused, Question: &Question{DeadlineMS: 8}}, 8},
		{"what is decided counts no more", State{Phase: PhasePaused,
			Calls: []CallState{call("", "", 1, 1), call(WaitTime, StatusCancelled, 2, 2), call(WaitApproval, "", 0, 9)}}, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.state.NextMS(); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestWhatKeepsAConversationBusy(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state State
		want  bool
	}{
		{"idle", State{Phase: PhaseIdle}, false},
		{"hooks before the turn", State{Phase: PhasePreparing}, true},
		{"a generation", State{Phase: PhaseGenerating}, true},
		{"calls", State{Phase: PhaseCalling}, true},
		{"a person who is waited for", State{Phase: PhasePaused, Calls: []CallState{{Waits: WaitApproval}, {Status: StatusOK}}}, false},
		{"a call that runs while a person is waited for", State{Phase: PhasePaused, Calls: []CallState{{Waits: WaitApproval}, {}}}, true},
		{"a hook after a turn that has ended", State{Phase: PhaseIdle, Hooks: []PendingHook{{Hook: Hook{Name: "audit"}}}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.state.Busy(); got != tc.want {
				t.Errorf("busy is %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAClonedStateSharesNothing(t *testing.T) {
	var s, same State
	fill(t, reflect.ValueOf(&s).Elem())
	fill(t, reflect.ValueOf(&same).Elem())
	c := s.Clone()
	if !reflect.DeepEqual(c, same) {
		t.Fatalf("the clone is %+v\nwant %+v", c, same)
	}
	c.Calls[0].Status, c.Queue[0], c.Grants[0].ID, c.Hooks[0].Name = "x", "x", "x", "x"
	c.Spent["more"], c.Extended["more"] = nil, 1
	if !reflect.DeepEqual(s, same) {
		t.Errorf("a write to the clone changed the original to %+v", s)
	}
}
