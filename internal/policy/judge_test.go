package policy

import "github.com/parleybus/parley/internal/events"

// Judge rules on a call that shares its budget with no other.
func (j *Judge) Judge(p *events.Policy, grants []events.Grant, call Call) Ruling {
	return j.JudgeWithin(NewBudget(), p, grants, call)
}
