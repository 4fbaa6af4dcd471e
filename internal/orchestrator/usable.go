package orchestrator

import (
	"bytes"
	"encoding/json"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// judged is a tool whose schemas were checked. Most announcements repeat what was
// announced before.
type judged struct {
	schema, output json.RawMessage
	usable         bool
}

// usable reports whether a tool may be offered; o.mu is held.
func (o *offerings) usable(spec events.ToolSpec) bool {
	if o.refuse == nil {
		return true
	}
	if j, ok := o.judged[spec.Name]; ok && bytes.Equal(j.schema, spec.Schema) && bytes.Equal(j.output, spec.Output) {
		return j.usable
	}
	if len(o.judged) > maxKnown {
		clear(o.judged)
	}
	j := judged{spec.Schema, spec.Output, o.refuse(spec) == nil}
	o.judged[spec.Name] = j
	return j.usable
}

// refuseTool returns why a tool is not offered to models, and logs it.
func (o *Orchestrator) refuseTool(spec events.ToolSpec) error {
	if o.CheckTool == nil {
		return nil
	}
	err := o.CheckTool(spec)
	if err != nil {
		o.Log.Error("a tool is not offered to models: correct its schema", "tool", spec.Name, "code", ceilings.CodeOf(err), "error", err)
	}
	return err
}
