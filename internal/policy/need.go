package policy

import (
	"errors"
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// The bounds of a need.
const (
	maxApprovals = 10
	maxApprovers = 100
)

// checkNeed reports why a rule cannot say who must approve. Whether these people
// exist is for package identity to say.
func checkNeed(r *events.Rule) (field string, err error) {
	switch {
	case r.Approvals < 0 || r.Approvals > maxApprovals:
		return ".approvals", fmt.Errorf("approvals is %d: give 1 to %d", r.Approvals, maxApprovals)
	case len(r.Approvers) > maxApprovers:
		return ".approvers", fmt.Errorf("approvers has %d names, at most %d are allowed: use groups", len(r.Approvers), maxApprovers)
	case r.Anybody():
		return "", nil
	case r.Action == events.ActionDefer && (r.DelayMS != 0 || r.AtMS != 0):
		return "", errors.New("approvers, approvals and not_requester are for calls that people decide: this one runs by itself when it is due")
	case r.Action == events.ActionDefer && r.Approvals > 1:
		return ".approvals", errors.New("a deferred call has one answer: approvals is for action approve")
	case r.Action != events.ActionApprove && r.Action != events.ActionDefer:
		return "", fmt.Errorf("approvers, approvals and not_requester are for actions approve and defer, not %s", r.Action)
	}
	return "", nil
}
