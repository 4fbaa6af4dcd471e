package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
)

// admit verifies who published an input. It returns false when it answered the
// input, which then has no other effect.
func (d *decision) admit(in accumulator.Input) bool {
	if d.env.Identities == nil || in.Event == nil {
		return true
	}
	signer, err := d.env.Identities.Verify(d.c.ID, lineOf(in), in.Event)
	if refused, ok := errors.AsType[*identity.RefusedError](err); ok {
		d.answer(in.ID, refused.Answer, "", refused.Reason)
		return false
	}
	if d.signers == nil {
		d.signers = map[string]string{}
	}
	d.signers[in.ID] = signer
	return true
}

// lineOf returns an input as it came.
func lineOf(in accumulator.Input) json.RawMessage {
	if len(in.Raw) > 0 {
		return in.Raw
	}
	raw, _ := events.Append(nil, in.Event) // an event that was made here always encodes
	return raw
}

// maySet reports why the author of Settings may not change what they change;
// empty when they may.
func (d *decision) maySet(in accumulator.Input) string {
	b := d.env.Identities
	if b.MaySet(d.signers[in.ID]) {
		return ""
	}
	fields := restricted(lineOf(in))
	if len(fields) == 0 {
		return ""
	}
	return fmt.Sprintf("only %s may change %s: have them send these settings, signed", b.WhoSets(), strings.Join(fields, ", "))
}

// restricted lists the fields of Settings by which calls could run that would not
// run now. Any field is, but those that are known to be harmless: the decoder takes
// names in any case, and later versions have more fields.
func restricted(line json.RawMessage) []string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return []string{"settings"}
	}
	for _, harmless := range []string{"type", "id", "signature", "route", "system", "parameters", "while_running", "while_waiting", "priority", "compaction"} {
		delete(fields, harmless)
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, fmt.Sprintf("%.40q", name))
	}
	slices.Sort(names)
	return names[:min(len(names), 10)]
}
